/** A simulated VM whose small devices come and go, in the words of their tests. */
import assert from 'node:assert/strict'
import { type Vm, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from './simulated-daemon.ts'

export const params = { name: 'web1' }
export type Devices = NonNullable<VmSpecInput['devices']>
type Options = Parameters<typeof openSimulatedDaemon>[0]
export const bare = { rng: false, vsock: false, balloon: false } as const

export async function openRunning(devices: Devices, spec: VmSpecInput = {}, options: Options = {}) {
  const world = await openSimulatedDaemon({ hurry: 20, ...options })
  await world.createVm('web1', { ...spec, devices: { ...bare, ...devices } })
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
  return world
}

function specWith(devices: Devices, spec: VmSpecInput = {}) {
  return vmSpec.parse({ ...spec, devices: { ...bare, ...devices } })
}

export async function setDevices(
  world: SimulatedDaemon,
  devices: Devices,
  spec: VmSpecInput = {},
): Promise<Vm> {
  return await world.call('applyVm', { params, body: { spec: specWith(devices, spec) } })
}

export async function planned(world: SimulatedDaemon, devices: Devices, spec: VmSpecInput = {}) {
  const plan = await world.call('planVm', { params, body: { spec: specWith(devices, spec) } })
  return plan.changes.map(({ field, effect, reason }) => [field, effect, reason])
}

export async function ended(world: SimulatedDaemon, vm: Vm) {
  assert.ok(vm.status.job, 'a job was begun')
  return await world.call('getJob', { params: { id: vm.status.job }, query: { wait: 30 } })
}

/** What the guest has, with where it is. */
export function there(world: SimulatedDaemon) {
  const { plugged } = world.process('web1').devices
  return [...plugged].map(([name, { bus }]) => `${name} on ${String(bus)}`).sort()
}

export async function waiting(world: SimulatedDaemon) {
  return (await world.vm('web1')).status.restartNeeded
}
