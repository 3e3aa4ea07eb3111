/** What no start could carry out is refused when it is asked for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, KvasirError, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const impossible: Readonly<Record<string, readonly [VmSpecInput, ErrorCode]>> = {
  'a topology of another number of vCPUs': [
    { cpu: { count: 4, topology: { sockets: 3, dies: 1, cores: 1, threads: 1 } } },
    'bad-request',
  ],
  'dies on a microvm': [
    {
      machine: { type: 'microvm' },
      boot: { kernel: { kernel: '/boot/vmlinuz' } },
      cpu: { count: 2, topology: { sockets: 1, dies: 2, cores: 1, threads: 1 } },
    },
    'unsupported',
  ],
}

for (const size of [0, 513])
  test(`a disk of ${size} bytes is made neither with a VM nor for one`, async () => {
    await using world = await openSimulatedDaemon()
    const disks = [{ name: 'data', size }]
    const body = { spec: vmSpec.parse({ disks }) }

    await assert.rejects(world.createVm('web1', { disks }), { code: 'bad-request' })
    await world.createVm('web2')
    await assert.rejects(world.call('applyVm', { params: { name: 'web2' }, body }), { code: 'bad-request' })

    assert.equal(world.machine.volumes.size, 0)
  })

function isRefusal(error: unknown, codes: readonly ErrorCode[]): boolean {
  return error instanceof KvasirError && codes.includes(error.code)
}

for (const [what, [spec, code]] of Object.entries(impossible)) {
  test(`a VM with ${what} is not created`, async () => {
    await using world = await openSimulatedDaemon()

    await assert.rejects(world.createVm('web1', spec), { code })

    assert.deepEqual(await world.call('listVms', {}), [])
  })

  test(`a VM is not changed to one with ${what}`, async () => {
    await using world = await openSimulatedDaemon()
    const machine = { ...spec.machine, firmware: 'bios' as const }
    const vm = await world.createVm('web1', { ...spec, machine, cpu: {} })
    const wanted = { params: { name: 'web1' }, body: { spec: vmSpec.parse({ ...vm.spec, ...spec }) } }

    await assert.rejects(world.call('applyVm', wanted), (error) => isRefusal(error, [code, 'plan-refused']))

    assert.equal((await world.vm('web1')).revision, 1)
  })
}

test('a VM that needs what only the host lacks now can be created', async () => {
  await using world = await openSimulatedDaemon()

  await world.createVm('web1', { cpu: { model: 'host' }, accelerator: 'kvm' })

  assert.equal((await world.start('web1')).error?.code, 'accelerator-unavailable')
})
