/** VM `web1` whose guest runs while its spec changes, in the words of the tests of devices that come and go. */
import assert from 'node:assert/strict'
import { type Job, type Vm, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { eventually, type SimulatedDaemon } from './simulated-daemon.ts'

const params = { name: 'web1' }

/** Starts the VM in a world, and waits until its guest's agent is there. */
export async function startGuest(world: SimulatedDaemon, spec: VmSpecInput): Promise<void> {
  await world.createVm('web1', spec)
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
}

/** Gives the VM another spec. */
export async function setSpec(world: SimulatedDaemon, spec: VmSpecInput): Promise<Vm> {
  return await world.call('applyVm', { params, body: { spec: vmSpec.parse(spec) } })
}

/** What the plan of another spec says of each change. */
export async function planned(world: SimulatedDaemon, spec: VmSpecInput) {
  const plan = await world.call('planVm', { params, body: { spec: vmSpec.parse(spec) } })
  return plan.changes.map(({ field, effect, reason }) => [field, effect, reason])
}

/** The job that a change of the spec began, at its end. */
export async function ended(world: SimulatedDaemon, vm: Vm): Promise<Job> {
  assert.ok(vm.status.job, 'a job was begun')
  return await world.call('getJob', { params: { id: vm.status.job }, query: { wait: 30 } })
}

/** The devices of the host that were lent to the VM. */
export function lent(world: SimulatedDaemon): readonly string[] {
  return [...world.process('web1').hostDevices.lent]
}
