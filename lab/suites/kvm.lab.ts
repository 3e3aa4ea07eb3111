/** A VM with KVM: QEMU says that it uses it and so does the VM's status; the guest lives, its threads have cgroups, its cage holds. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { QmpClient } from '@kvasir/qmp'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'

const skip = needs('lab', 'root', 'qemu')
const read = (path: string) => readFileSync(path, 'utf8').trim()

test('a VM runs with KVM, which QEMU says and the status repeats', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { cpu: { count: 2 }, accelerator: 'kvm' })
  const { uuid, status } = await vm.show()
  assert.equal(status.accelerator, 'kvm')
  assert.equal(status.acceleratorReason, 'the CPU has svm and KVM answered')

  // The monitor has one client at a time, which is the daemon while it lives.
  await world.daemon.kill9()
  {
    using monitor = await QmpClient.connect({
      path: join(world.place.runtimeDir, 'vms', uuid, 'monitor'),
      greetingTimeoutMs: 30_000,
    })
    assert.deepEqual(await monitor.execute('query-kvm'), { present: true, enabled: true })
  }
  await world.startDaemon()

  assert.equal((await vm.untilState('running')).status.accelerator, 'kvm')
  assert.equal(await vm.shell('nproc'), '2')
})

test('a guest with KVM has a shell, the processor of the host, and a vsock', { skip }, async (t) => {
  await using world = await openWorld(t)

  const vm = await world.bootTiny('web1', { cpu: { count: 2, model: 'host' } })

  assert.match(await vm.shell('cat /proc/cpuinfo'), /\bhypervisor\b/)
  assert.match(await vm.shell('dmesg'), /kvm-clock/)
  assert.equal(await vm.shell('test -c /dev/vsock && echo there'), 'there')
})

test('every thread of a VM that is pinned is in its threaded cgroup, and the cage is whole', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)

  const vm = await world.bootTiny('web1', { cpu: { count: 2, pin: { vcpus: { 0: '1' } } } })

  const { status } = await vm.show()
  assert.deepEqual(status.cageLimits, [])
  const group = status.cgroup ?? assert.fail('the status names no cgroup')
  const nameOf = (id: number) => read(`/proc/${status.pid}/task/${id}/comm`)
  const threads = (child: string) =>
    read(join(group, child, 'cgroup.threads'))
      .split('\n')
      .map(Number)
  for (const { index, threadId } of status.vcpus ?? []) {
    // KVM's own worker, which the first vCPU makes, counts as its thread since Linux 6.12.
    const own = threads(`vcpu${index}`).filter((id) => !nameOf(id).startsWith('kvm-nx-lpage-re'))
    assert.deepEqual(own, [threadId])
    assert.equal(read(join(group, `vcpu${index}`, 'cgroup.type')), 'threaded')
  }
  const children = readdirSync(group).filter((name) => existsSync(join(group, name, 'cgroup.threads')))
  const inGroups = new Set(['.', ...children].flatMap(threads)) // Those of its helpers too.
  const all = readdirSync(`/proc/${status.pid}/task`).map(Number)
  assert.deepEqual(
    all.filter((id) => !inGroups.has(id)),
    [],
  )
  await world.assertCleanAudit()
})
