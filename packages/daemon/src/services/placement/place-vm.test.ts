/** The simulated host has 2 nodes of 2 cores with 2 threads: 0+4, 1+5 and 2+6, 3+7. Core 0 is kept for the host, and 2 has the emulators of node 1. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { eventually, openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const dedicated = (count: number) => ({ cpu: { count, placement: 'dedicated' as const } })

test('a dedicated VM holds its CPUs while it runs, and what holds them is named in a refusal', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('db1', dedicated(2))
  await world.createVm('db2', dedicated(2))
  await world.createVm('db3', dedicated(4))
  const start = async (name: string) => await world.call('startVm', { params: { name }, query: { wait: 5 } })

  const jobs = [await start('db1'), await start('db2'), await start('db3')]

  assert.deepEqual(
    jobs.map(({ state }) => state),
    ['succeeded', 'succeeded', 'failed'],
  )
  assert.equal(jobs[2]?.error?.code, 'not-enough-cpus')
  assert.match(jobs[2]?.error?.detail ?? '', /^VM db3 cannot be placed, because .*VM db1 has .* for itself/)
  const vm = await world.call('getVm', { params: { name: 'db1' } })
  assert.match(vm.status.placement ?? '', /^dedicated: 2 vCPUs on node \d, L3 \d, CPUs /)
})

test('two dedicated VMs that start at once never get the same CPU, whoever is first', async () => {
  await using world = await openSimulatedDaemon()
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
  for (const name of names) await world.createVm(name, dedicated(1))

  const jobs = await Promise.all(
    names.map((name) => world.call('startVm', { params: { name }, query: { wait: 5 } })),
  )

  assert.equal(jobs.filter(({ state }) => state === 'succeeded').length, 4)
  const places = await Promise.all(
    names.map((name) => world.call('placeVm', { params: { name }, query: { anew: false } })),
  )
  const inForce = places.filter(({ state }) => state === 'in-force')
  const cpus = inForce.flatMap(({ plan }) => plan?.threads.vcpus.flatMap((vcpu) => vcpu.cpus) ?? [])
  assert.deepEqual(
    [...new Set(cpus)].sort((a, b) => a - b),
    [1, 3, 5, 7],
  )
})

test('a VM keeps its place over a restart, also when a better one has become free', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('first', dedicated(2))
  await world.createVm('second', dedicated(2))
  const placeOf = async (name: string) =>
    await world.call('placeVm', { params: { name }, query: { anew: false } })
  for (const name of ['first', 'second'])
    await world.call('startVm', { params: { name }, query: { wait: 5 } })
  const before = await placeOf('second')
  for (const name of ['first', 'second']) await world.call('powerOffVm', { params: { name } })

  const off = await placeOf('second')
  await world.call('startVm', { params: { name: 'second' }, query: { wait: 5 } })

  assert.deepEqual([before.state, off.state], ['in-force', 'next-start'])
  assert.equal(off.reason, 'a start would keep the place that it had')
  assert.deepEqual((await placeOf('second')).plan, before.plan)
})

test('a placement is looked at without changing anything: of a VM, anew, and of a spec', async () => {
  await using world = await openSimulatedDaemon()
  const before = await world.createVm('web', { cpu: { count: 2, placement: 'pack' } })

  const plain = await world.call('placeVm', { params: { name: 'web' }, query: { anew: false } })
  const anew = await world.call('placeVm', { params: { name: 'web' }, query: { anew: true } })
  const other = await world.call('placeSpec', {
    params: { name: 'new' },
    body: { spec: vmSpec.parse(dedicated(9)), devices: [] },
  })
  const none = await world.call('placeSpec', {
    params: { name: 'new' },
    body: { spec: vmSpec.parse({}), devices: [] },
  })

  assert.deepEqual(
    [plain.state, anew.state, other.state, none.state],
    ['next-start', 'next-start', 'refused', 'none'],
  )
  assert.match(other.reason, /^only 6 hardware threads are free for a VM alone and it wants 9/)
  assert.deepEqual(await world.call('getVm', { params: { name: 'web' } }), before)
})

test('a VM that is pinned by hand keeps dedicated VMs off its CPUs', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('pinned', { cpu: { count: 1, pin: { vcpus: { 0: '1,5' } } } })
  await world.call('startVm', { params: { name: 'pinned' }, query: { wait: 5 } })

  const place = await world.call('placeSpec', {
    params: { name: 'db' },
    body: { spec: vmSpec.parse(dedicated(5)), devices: [] },
  })

  assert.equal(place.state, 'refused')
  assert.match(place.reason, /VM pinned may run on 1,5/)
})

test('what is placed is told to the emulator: siblings, and the node of its memory', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('db', dedicated(2))
  await world.call('startVm', { params: { name: 'db' }, query: { wait: 5 } })

  const argv = world.process('db').request.plan.argv.join(' ')

  assert.match(argv, /cpus=2,sockets=1,dies=1,cores=1,threads=2,maxcpus=2/)
  assert.match(argv, /"host-nodes":\[1\],"policy":"bind"/)
  const { layout } = world.process('db').request.threads ?? {}
  assert.deepEqual(
    [...(layout?.vcpus ?? [])],
    [
      [0, [3]],
      [1, [7]],
    ],
  )
  assert.deepEqual(layout?.emulator, [2, 6])
  assert.deepEqual(layout?.allowedCpus, [2, 3, 6, 7])
})

test('vCPUs of a dedicated VM are not pinned by hand too', () => {
  const spec = { cpu: { ...dedicated(2).cpu, pin: { vcpus: { 0: '1' } } } }

  const parsed = vmSpec.safeParse(spec)

  assert.match(parsed.error?.issues[0]?.message ?? '', /^cannot be had with placement dedicated/)
})

test('a clone looks for a place of its own', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('db', dedicated(2))
  await world.start('db')
  await world.call('powerOffVm', { params: { name: 'db' } })

  const body = { name: 'copy', mode: 'linked' as const }
  await world.call('cloneVm', { params: { name: 'db' }, query: { wait: 5 }, body })

  const place = await world.call('placeVm', { params: { name: 'copy' }, query: { anew: false } })
  assert.equal(place.reason, 'a start would place it so now')
})

test('VMs that are placed at the same moment do not count on the same huge pages of a node', async () => {
  await using world = await openSimulatedDaemon()
  const pageBytes = 2 ** 21
  const node = (number: number) => ({ node: number, total: 512, free: 512, availableBytes: 0 })
  world.machine.hugepages.set(pageBytes, [node(0), node(1)])
  const names = ['a', 'b']
  for (const name of names)
    await world.createVm(name, {
      cpu: { count: 1, placement: 'pack', numa: 'strict' },
      memory: { size: '768MiB', pageSize: '2MiB' },
    })

  const jobs = await Promise.all(names.map((name) => world.start(name)))

  assert.deepEqual(
    jobs.map(({ state }) => state),
    ['succeeded', 'succeeded'],
  )
  const places = await Promise.all(
    names.map((name) => world.call('placeVm', { params: { name }, query: { anew: false } })),
  )
  assert.deepEqual(
    places.flatMap(({ plan }) => plan?.threads.memoryNodes ?? []).sort((a, b) => a - b),
    [0, 1],
  )
})

test('a VM for which memory seems short while another takes it is placed once that one has it', async () => {
  await using world = await openSimulatedDaemon()
  const pageBytes = 2 ** 21
  const pages = (free: number) => [
    { node: 0, total: 512, free, availableBytes: 0 },
    { node: 1, total: 512, free: 0, availableBytes: 0 },
  ]
  world.machine.hugepages.set(pageBytes, pages(512))
  world.machine.stepMs = 300 // Each of them is longer than it takes to look, also where the machine is busy.
  const spec = {
    cpu: { count: 1, placement: 'pack' as const, numa: 'strict' as const },
    memory: { size: '768MiB', pageSize: '2MiB' as const },
  }
  await world.createVm('a', spec)
  await world.createVm('b', { ...spec, memory: { ...spec.memory, size: '512MiB' } })

  const first = world.start('a')
  await world.vm('a')
  const second = world.start('b')
  await eventually(async () => (await world.vm('a')).status.state === 'running', 'the first runs')
  assert.equal((await world.vm('b')).status.state, 'shutoff')
  world.machine.hugepages.set(pageBytes, pages(256))

  const jobs = [await first, await second]
  assert.deepEqual(
    jobs.map(({ state, error }) => error?.detail ?? state),
    ['succeeded', 'succeeded'],
  )
})
