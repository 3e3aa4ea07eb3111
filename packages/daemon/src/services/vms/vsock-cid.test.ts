import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

async function setVsock(world: SimulatedDaemon, name: string, vsock: boolean): Promise<void> {
  const { spec } = await world.vm(name)
  const body = { spec: { ...spec, devices: { ...spec.devices, vsock } } }
  await world.call('applyVm', { params: { name }, body })
}

function cidOf(world: SimulatedDaemon, name: string): string | undefined {
  const argv = world.process(name).request.plan.argv
  return argv.map((word) => /"guest-cid":(\d+)/.exec(word)?.[1]).find((cid) => cid !== undefined)
}

test('a VM that is given vsock later has an address', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { vsock: false } })

  await setVsock(world, 'web1', true)
  await world.start('web1')

  assert.ok(Number(cidOf(world, 'web1')) >= 3)
})

test('the address of a VM that runs is given to no other, whatever its spec says by then', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')
  const cid = Number(cidOf(world, 'web1'))
  await setVsock(world, 'web1', false)
  const { clock } = world.machine
  let isFirst = true
  clock.uuid = () => {
    const alike = `${(cid - 3).toString(16).padStart(6, '0')}00-0000-7000-8000-000000000001` // Leads to the same address.
    const id = isFirst ? alike : randomUUID()
    isFirst = false
    return id
  }

  await world.createVm('web2')
  await world.start('web2')

  assert.equal(Number(cidOf(world, 'web2')), cid + 1)
})
