/** 3D in a VM's spec: who gets it, who is told why not, and what a VM that has it cannot do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const gl = { devices: { display: 'virtio-gl' as const } }
const gpus = [
  { path: '/dev/dri/renderD128', driver: 'i915', address: '0000:00:02.0' },
  { path: '/dev/dri/renderD129', driver: 'amdgpu', address: '0000:03:00.0' },
]

/** A GPU as the kernel shows it. */
const gpu = {
  classCode: '030000',
  className: 'VGA compatible controller',
  vendorId: '1002',
  deviceId: '744c',
  driver: 'amdgpu',
  iommuGroup: 1,
  interfaces: [],
  vfs: [],
  resetMethods: ['bus'],
  isBootDisplay: false,
  physicalFunction: undefined,
  disks: [],
  links: [],
}

async function failureOf(world: SimulatedDaemon, id: string): Promise<string> {
  const job = await world.call('getJob', { params: { id }, query: { wait: 5 } })
  return job.error?.detail ?? ''
}

test('a VM with 3D draws on the first render node, or on that of the GPU that it names', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.renderNodes = gpus
  await world.createVm('web1', gl)
  await world.createVm('db1', { devices: { ...gl.devices, renderNode: '0000:03:00.0' } })

  await world.start('web1')
  await world.start('db1')

  const nodes = [await world.vm('web1'), await world.vm('db1')].map(({ status }) => status.renderNode)
  assert.deepEqual(nodes, ['/dev/dri/renderD128', '/dev/dri/renderD129'])
  assert.ok(world.process('db1').request.plan.argv.includes('egl-headless,rendernode=/dev/dri/renderD129'))
})

test('a host without a render node starts no VM with 3D, and says what it takes', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', gl)

  const { id } = await world.call('startVm', { params })
  assert.match(
    await failureOf(world, id),
    /VM web1 has 3D .*cannot start here: the host has no render node .*Load the driver/,
  )
  assert.equal((await world.vm('web1')).status.state, 'shutoff')
})

test('the plan says that 3D would not start here, and nothing of that where it would', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')
  const body = { spec: vmSpec.parse(gl) }
  const planned = async () => (await world.call('planVm', { params, body })).changes

  const [without] = await planned()
  world.machine.renderNodes = gpus
  const [withNode] = await planned()

  assert.deepEqual([without?.field, without?.effect], ['devices.display', 'next-boot'])
  assert.match(without?.reason ?? '', /with 3D it would not start here: the host has no render node/)
  assert.equal(withNode?.reason, 'the guest has the card that it booted with')
})

test('memory of a VM with 3D is neither saved nor kept in a snapshot, and the VM goes on', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.renderNodes = gpus
  await world.createVm('web1', { ...gl, disks: [{ name: 'root', size: '1GiB' }] })
  await world.start('web1')

  const saving = await world.call('saveVm', { params })
  assert.match(await failureOf(world, saving.id), /has 3D .*in the GPU .* its memory is not saved/)
  const body = { name: 'first', description: '', quiesce: false, memory: true }
  const keeping = await world.call('createSnapshot', { params, body })
  assert.match(await failureOf(world, keeping.id), /has 3D .* its memory is not kept/)

  assert.equal((await world.vm('web1')).status.state, 'running')
  assert.equal(world.machine.saves.size, 0)
  const disks = await world.call('createSnapshot', { params, body: { ...body, memory: false } })
  assert.equal(await failureOf(world, disks.id), '')
})

test('a GPU that renders for a VM is in use, so nobody is given it unless forced', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.renderNodes = gpus
  const address = '0000:03:00.0'
  world.machine.devices = {
    ...world.machine.devices,
    iommu: {
      units: ['dmar0'],
      tables: [],
      groups: [{ group: 1, devices: [address], hasDirectRegion: false }],
    },
    pci: [{ ...gpu, address }],
  }
  await world.createVm('web1', { devices: { ...gl.devices, renderNode: address } })
  await world.createVm('db1', { hostDevices: [{ name: 'gpu', address }] })
  await world.start('web1')

  const { id } = await world.call('startVm', { params: { name: 'db1' } })

  assert.match(await failureOf(world, id), /renders the 3D of VM web1, so VM db1 gets it only with force/)
  const [device] = await world.call('listHostDevices', {})
  assert.deepEqual(device?.usedBy, ['renders the 3D of VM web1'])
})
