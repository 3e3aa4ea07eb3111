/** Where VMs lie on this host: planned, applied to their threads, kept, and refused with who holds what. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, parseCpuList, type VmPlacement } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { cpusOfVcpus } from '../machine/vcpu-threads.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

const placementOf = async (world: World, name: string): Promise<VmPlacement> =>
  await world.client.call(endpoints.placeVm, { params: { name } })

test('a packed VM runs where its plan says, and show and place tell it', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { placement: 'pack' } })

  const { state, plan } = await placementOf(world, 'web1')

  assert.equal(state, 'in-force')
  const cpus = plan?.threads.vcpus[0]?.cpus ?? []
  assert.equal(cpus.length, 1)
  assert.deepEqual(await cpusOfVcpus(vm), [cpus.join()])
  assert.match((await vm.show()).status.placement ?? '', /^pack: 1 vCPU on node 0, L3 \d+, CPUs? \d$/)
  const told = await world.cli('vm', 'place', 'web1', '--explain')
  assert.match(told.stdout, /^VM web1, pack: 1 vCPU on node 0/)
  assert.match(told.stdout, /In force: the VM runs so\./)
  assert.match(told.stdout, /Considered\n {2}node 0: chosen/)
  assert.match((await world.cli('vm', 'show', 'web1')).stdout, /Placement +pack: 1 vCPU on node 0/)
})

test('a dry run changes nothing, for a VM that runs, one that does not, and a file', { skip }, async (t) => {
  await using world = await openWorld(t)
  await world.bootTiny('web1', { cpu: { placement: 'pack' } })
  const flags = ['--vcpus', '2', '--placement', 'spread', '--numa', 'strict']
  assert.equal((await world.cli('vm', 'create', 'web2', '--image', 'tiny', ...flags)).code, 0)
  const before = await world.client.call(endpoints.listVms, {})

  const running = await world.cli('vm', 'place', 'web1', '--dry-run', '-o', 'json')
  const off = await world.cli('vm', 'place', 'web2', '--explain')

  assert.equal(JSON.parse(running.stdout).state, 'next-start')
  assert.match(off.stdout, /Not in force: a start would place it so now/)
  const after = await world.client.call(endpoints.listVms, {})
  assert.deepEqual(
    after.map(({ revision, spec }) => ({ revision, spec })),
    before.map(({ revision, spec }) => ({ revision, spec })),
  )
})

test('of dedicated VMs that start at once none gets the CPU of another', { skip }, async (t) => {
  await using world = await openWorld(t)
  const names = ['db1', 'db2', 'db3', 'db4']
  for (const name of names) await world.createTiny(name, { cpu: { placement: 'dedicated' } })

  const jobs = await Promise.all(
    names.map((name) => world.client.call(endpoints.startVm, { params: { name }, query: { wait: '60' } })),
  )

  const started = names.filter((_, index) => jobs[index]?.state === 'succeeded')
  const own: string[] = []
  for (const name of started) own.push(...(await cpusOfVcpus(world.vm(name))))
  assert.equal(new Set(own).size, own.length)
  assert.ok(!own.includes('0'), 'CPU 0 is kept for the host')
  for (const job of jobs.filter(({ state }) => state !== 'succeeded')) {
    assert.equal(job.error?.code, 'not-enough-cpus')
    assert.match(job.error?.detail ?? '', /cannot be placed, because .*VM db\d .*for itself/)
    assert.match(job.error?.detail ?? '', /kept for the host/)
  }
})

test('a VM keeps its place over restarts of it and of the daemon', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('db1', { cpu: { placement: 'dedicated' } })
  const before = await placementOf(world, 'db1')

  await world.daemon.kill9()
  await world.startDaemon()
  assert.deepEqual(await placementOf(world, 'db1'), before)
  assert.deepEqual(await cpusOfVcpus(vm), [before.plan?.threads.vcpus[0]?.cpus.join()])
  await vm.shutdown({ timeoutSeconds: 30 })
  await vm.start()

  assert.deepEqual((await placementOf(world, 'db1')).plan, before.plan)
})

test('a changed placement waits for the next boot, and a VM that is not placed says so', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')

  assert.equal((await placementOf(world, 'web1')).state, 'none')
  await world.cli('vm', 'set', 'web1', 'cpu.placement=pack')

  assert.deepEqual((await vm.show()).status.restartNeeded, ['cpu.placement'])
  assert.equal((await placementOf(world, 'web1')).state, 'none')
  assert.equal(
    JSON.parse((await world.cli('vm', 'place', 'web1', '--dry-run', '-o', 'json')).stdout).state,
    'next-start',
  )
})

test('a VM that runs leaves the CPU of a dedicated one, and comes back when that has ended', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const web = await world.bootTiny('web1')
  const [before = ''] = await cpusOfVcpus(web)

  const db = await world.createTiny('db1', { cpu: { placement: 'dedicated' } })
  await db.start()

  const [own = ''] = await cpusOfVcpus(db)
  const [beside = ''] = await cpusOfVcpus(web)
  assert.ok(!(parseCpuList(beside) ?? []).includes(Number(own)), `${beside} is to be without ${own}`)
  await world.assertCleanAudit()
  await world.client.call(endpoints.powerOffVm, { params: { name: 'db1' } })
  await eventually(async () => ((await cpusOfVcpus(web))[0] === before ? true : undefined), {
    withinMs: 5_000,
    what: 'all CPUs for the VM that stays',
  })
  await web.isCounting()
})
