/** Placed VMs on two NUMA nodes with KVM: threads where the plan says, memory on their nodes, a guest that sees what it spans. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints, formatCpuList, type PlacementPlan } from '@kvasir/contract'
import { cpusOfVcpus } from '../../e2e/machine/vcpu-threads.ts'
import { openWorld, type World } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'

const skip = needs('lab', 'root', 'qemu')
const read = (path: string) => readFileSync(path, 'utf8').trim()

async function planOf(world: World, name: string): Promise<PlacementPlan> {
  const { plan, reason } = await world.client.call(endpoints.placeVm, { params: { name } })
  return plan ?? assert.fail(reason)
}

/** Pages of an emulator's large mappings by node, and whether each is bound (proc(5), numa_maps). */
function guestPages(pid: number, leastPages: number) {
  return read(`/proc/${pid}/numa_maps`)
    .split('\n')
    .map((line) => ({
      policy: line.split(' ')[1] ?? '',
      pages: [...line.matchAll(/\bN(\d+)=(\d+)/g)].map(
        ([, node, count]) => [Number(node), Number(count)] as const,
      ),
    }))
    .filter(({ pages }) => pages.reduce((sum, [, count]) => sum + count, 0) >= leastPages)
    .filter(({ policy }) => policy.startsWith('bind'))
}

test('a dedicated VM has a CPU for itself and its memory beside it, and others leave that CPU', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const other = await world.bootTiny('web1')

  const vm = await world.bootTiny('db1', { cpu: { placement: 'dedicated' } })

  const plan = await planOf(world, 'db1')
  const [cpu = -1] = plan.threads.vcpus[0]?.cpus ?? []
  const [node = -1] = plan.threads.memoryNodes ?? []
  assert.deepEqual(await cpusOfVcpus(vm), [String(cpu)])
  assert.ok(read(`/sys/devices/system/node/node${node}/cpulist`).split('-').map(Number).includes(cpu))
  const { status } = await vm.show()
  assert.equal(status.accelerator, 'kvm')
  const maps = guestPages(status.pid ?? 0, 1000)
  assert.ok(maps.length > 0, 'the guest has touched memory that is bound')
  for (const { policy, pages } of maps) {
    assert.match(policy, new RegExp(`^bind.*:${node}$`))
    assert.deepEqual(
      pages.map(([at]) => at),
      [node],
    )
  }
  const shared = [0, 1, 2, 3].filter((one) => one !== cpu)
  assert.deepEqual(await cpusOfVcpus(other), [formatCpuList(shared)])
})

test('a VM that spans both nodes shows them to its guest, each with its memory and CPUs', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)

  const vm = await world.bootTiny('db1', {
    cpu: { count: 3, placement: 'dedicated' },
    memory: { size: '384MiB' },
  })

  const plan = await planOf(world, 'db1')
  assert.deepEqual(plan.threads.memoryNodes, [0, 1])
  assert.deepEqual(
    await cpusOfVcpus(vm),
    plan.threads.vcpus.map(({ cpus }) => cpus.join()),
  )
  const seen = 'cd /sys/devices/system/node && cat node*/cpulist node0/distance'
  const lines = (await vm.shell(seen)).split('\n')
  assert.deepEqual(lines, [...(plan.guest?.nodes ?? []).map(({ vcpus }) => formatCpuList(vcpus)), '10 21'])
  const { pid = 0 } = (await vm.show()).status
  const nodes = guestPages(pid, 500).flatMap(({ pages }) => pages.map(([node]) => node))
  assert.deepEqual(
    [...new Set(nodes)].sort((a, b) => a - b),
    [0, 1],
  )
})

test('a VM whose memory is to come from a node runs there', { skip }, async (t) => {
  await using world = await openWorld(t)
  const spec = { cpu: { placement: 'pack' as const, count: 1 }, memory: { size: '128MiB', nodes: [1] } }

  const vm = await world.bootTiny('web1', spec)

  const plan = await planOf(world, 'web1')
  assert.deepEqual(plan.threads.memoryNodes, [1])
  const [cpus = ''] = await cpusOfVcpus(vm)
  assert.ok(['2', '3'].includes(cpus), `its vCPU may run on ${cpus}`)
})
