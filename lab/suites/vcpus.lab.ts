/**
 * vCPUs with KVM: they come and go while the guest runs, as the guest itself says; models and nesting are what the guest was given.
 *
 * Not here: what needs no KVM (e2e/suites/vcpus.e2e.ts).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, type Job, type Vm, type VmSpecInput } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { eventually } from '../../e2e/machine/eventually.ts'
import { openWorld, tinySpec, type World } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'

const skip = needs('lab', 'root', 'qemu')
const jobMs = 180_000

type Cpu = NonNullable<VmSpecInput['cpu']>

async function jobOf(world: World, { status }: Vm): Promise<Job> {
  assert.ok(status.job, 'a job was begun')
  const job = await world.client.call(endpoints.getJob, { params: { id: status.job } })
  return await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

async function setCpu(world: World, cpu: Cpu): Promise<string | undefined> {
  return (await jobOf(world, await world.vm('web1').apply(tinySpec({ cpu })))).outcome
}

test('vCPUs come and go and come again, a vCPU of the boot too', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { count: 2, max: 4 } })
  assert.equal(await vm.shell('nproc'), '2')

  assert.equal(await setCpu(world, { count: 4, max: 4 }), 'It has 4 of 4 vCPUs; its guest uses 4.')
  assert.equal(await vm.shell('nproc'), '4')
  assert.equal(await setCpu(world, { count: 1, max: 4 }), 'It has 1 of 4 vCPUs; its guest let go of 3.')
  assert.equal(await vm.shell('nproc'), '1')
  assert.equal(await setCpu(world, { count: 3, max: 4 }), 'It has 3 of 4 vCPUs; its guest uses 3.')
  assert.equal(await vm.shell('nproc'), '3')

  await vm.reset()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('nproc'), '3')
  await vm.shutdown({ timeoutSeconds: 60 })
  await vm.start()
  await vm.waitForLogin(3)
  assert.equal(await vm.shell('nproc'), '3')
})

test('a daemon that dies while a guest lets go of vCPUs is followed by one that goes on', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { count: 4, max: 4 } })
  await vm.shell('true') // The agent is there.
  const pid = await vm.pid()
  await vm.apply(tinySpec({ cpu: { count: 1, max: 4 } }))

  await world.daemon.kill9()
  await world.startDaemon()

  const isThere = async () => ((await vm.show()).status.cpu?.count === 1 ? true : undefined)
  await eventually(isThere, { withinMs: 60_000, what: 'there is one vCPU' })
  assert.equal(await vm.pid(), pid)
  assert.equal(await vm.shell('nproc'), '1')
})

test('a VM that is saved with fewer vCPUs than it booted with goes on with them', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { count: 3, max: 3 } })
  await vm.shell('true') // The agent is there.
  await setCpu(world, { count: 2, max: 3 })

  await vm.save()
  await vm.start()

  await vm.isCounting()
  assert.equal(await vm.shell('nproc'), '2')
})

test('a guest has the extension for VMs of its own as its spec says', { skip }, async (t) => {
  await using world = await openWorld(t)
  const nested = await world.bootTiny('nested', { cpu: { nested: true } })
  const plain = await world.bootTiny('plain', { cpu: { nested: false } })

  assert.match(await nested.shell('grep -m1 ^flags /proc/cpuinfo'), /\bsvm\b/)
  assert.doesNotMatch(await plain.shell('grep -m1 ^flags /proc/cpuinfo'), /\bsvm\b/)
})

test('the baselines that this host can run are what the guest sees, and the others are refused by flag', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { model: 'x86-64-v2' } })

  const flags = await vm.shell('grep -m1 ^flags /proc/cpuinfo')

  assert.match(flags, /\bsse4_2\b/)
  assert.doesNotMatch(flags, /\b(avx|svm)\b/)
  const body = { name: 'bad', spec: tinySpec({ accelerator: 'kvm', cpu: { model: 'x86-64-v4' } }) }
  await assert.rejects(world.client.call(endpoints.createVm, { body }), {
    message: /under KVM: it lacks the flags .*avx512f/,
  })
})
