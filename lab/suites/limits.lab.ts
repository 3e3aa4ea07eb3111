/** Limits that an administrator writes into the cgroup of a VM that runs, on a host that has all controllers. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20

test('limits that were set by hand outlive the daemon, are told of, and end with a spec that says others', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { weight: 200 }, memory: { high: '400MiB' } })
  const { status, spec } = await vm.show()
  const file = (name: string) => `${status.cgroup}/${name}`
  const limit = (name: string) => readFileSync(file(name), 'utf8').trim()
  writeFileSync(file('memory.max'), String(600 * mib))
  writeFileSync(file('cpu.max'), '50000 100000')

  await world.daemon.kill9()
  await world.startDaemon()

  await vm.untilState('running')
  assert.deepEqual(['memory.high', 'memory.max', 'cpu.max', 'cpu.weight'].map(limit), [
    String(400 * mib),
    String(600 * mib),
    '50000 100000',
    '200',
  ])
  const { entries } = await world.audit()
  assert.deepEqual(
    entries.map(({ thing, detail }) => `${thing} ${/\S+ of its cgroup was set to \S+/.exec(detail)?.[0]}`),
    [
      `limits memory.max of its cgroup was set to ${600 * mib}`,
      'limits cpu.max of its cgroup was set to 50000',
    ],
  )

  await vm.apply({ ...spec, cpu: { ...spec.cpu, weight: 300 }, memory: { ...spec.memory, high: 300 * mib } })
  assert.deepEqual(['memory.high', 'memory.max', 'cpu.max', 'cpu.weight'].map(limit), [
    String(300 * mib),
    String(600 * mib),
    '50000 100000',
    '300',
  ])
  const { cpu, memory } = (await vm.show()).spec
  await vm.apply({
    ...spec,
    cpu: { ...cpu, quotaPercent: 80 },
    memory: { ...memory, hard: 700 * mib },
  })
  assert.deepEqual(['memory.max', 'cpu.max'].map(limit), [String(700 * mib), '80000 100000'])
  await world.assertCleanAudit()
  await vm.isCounting()
})
