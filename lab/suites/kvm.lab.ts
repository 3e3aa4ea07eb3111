/** A VM with KVM: QEMU says that it uses it and so does the VM's status; the guest lives, its threads have cgroups, its cage holds. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { QmpClient } from '@kvasir/qmp'
import { eventually } from '../../e2e/machine/eventually.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'

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
  assert.equal(await connectError(status.vsockCid ?? 0), 'ECONNRESET') // The vsock that it booted with.
})

test('a guest with KVM has a shell, the processor of the host, and a vsock that comes and goes while it runs', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)

  const vm = await world.bootTiny('web1', {
    cpu: { count: 2, model: 'host' },
    devices: { vsock: false },
  })

  assert.match(await vm.shell('cat /proc/cpuinfo'), /\bhypervisor\b/)
  assert.match(await vm.shell('dmesg'), /kvm-clock/)
  const set = async (wanted: boolean) => await world.cli('vm', 'set', 'web1', `devices.vsock=${wanted}`)
  assert.match((await set(true)).stderr, /Device vsock is plugged\./)
  const { vsockCid, restartNeeded } = (await vm.show()).status
  assert.ok(vsockCid, 'it has an address')
  assert.deepEqual(restartNeeded, [])
  // Linux in the guest refuses what nobody listens for (vsock(7)); who is not there says nothing.
  await eventually(async () => ((await connectError(vsockCid)) === 'ECONNRESET' ? true : undefined), {
    withinMs: 30_000,
    what: 'the guest answers by vsock',
  })
  await vm.assertCaged()
  assert.match((await set(false)).stderr, /Device vsock is gone\./)
  assert.notEqual(await connectError(vsockCid), 'ECONNRESET')
})

/** What Linux says to who connects by vsock to a port of a guest where nobody listens. */
async function connectError(cid: number): Promise<string> {
  const address = `pack("SSLLx4", 40, 0, 4444, ${cid})` // AF_VSOCK, and struct sockaddr_vm (linux/vm_sockets.h).
  const script = `use Errno; socket(S, 40, 1, 0) or die $!; connect(S, ${address}); print grep { $!{$_} } keys %!`
  return await sh(`perl -e '${script}'`)
}

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

test('the kernel moves the packets of a guest with KVM, also of a NIC that is plugged, by threads that the VM shows', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const name = 'lan'
  await world.client.call(endpoints.createNetwork, { body: { name, ipv4: { subnet: '10.9.0.0/24' } } })
  const nics = [{ name: 'net0', network: name }]
  const cpu = { count: 2, pin: { emulator: '1', vhost: '3' } }
  const vm = await world.bootTiny('web1', { cpu, accelerator: 'kvm', nics })
  const { spec } = await vm.show()

  const { status } = await vm.apply({ ...spec, nics: [...spec.nics, { name: 'net1', network: name }] })
  assert.ok(status.job)
  const query = { wait: 60 }
  const job = await world.client.call(endpoints.getJob, {
    params: { id: status.job },
    query,
    timeoutMs: 600_000,
  })
  assert.equal(job.outcome, 'NIC net1 is plugged.', JSON.stringify(job.error))
  for (const eth of ['eth0', 'eth1'])
    await eventually(
      async () => ((await vm.run(`ping -c 1 -W 5 -I ${eth} 10.9.0.1`)).exitCode === 0 ? true : undefined),
      {
        withinMs: 60_000,
        what: `the host answers at ${eth}`,
      },
    )

  const shown = (await vm.show()).status
  assert.deepEqual(
    shown.nics?.map(({ vhost, queues }) => [vhost, queues]),
    [
      [true, 2],
      [true, 2],
    ],
  )
  const workers = shown.vhostThreads ?? []
  assert.ok(workers.length >= 2, `${workers.length} threads of vhost`)
  for (const { threadId } of workers)
    assert.match(read(`/proc/${shown.pid}/task/${threadId}/comm`), /^vhost-/)
  const cpusOf = (threadId: number | undefined) =>
    /^Cpus_allowed_list:\s+(\S+)/m.exec(read(`/proc/${shown.pid}/task/${threadId}/status`))?.[1]
  const pinned = () => workers.map(({ threadId }) => cpusOf(threadId))
  assert.deepEqual(new Set(pinned()), new Set(['3']), 'workers from the start and of the NIC that came')
  await world.cli('vm', 'pin', 'web1', 'vhost', '2')
  assert.deepEqual([new Set(pinned()), cpusOf(shown.pid)], [new Set(['2']), '1'])
  assert.match((await world.cli('vm', 'pin', 'web1')).stdout, /vhost +vhost +2 +2 /)
  await world.cli('vm', 'pin', 'web1', 'vhost', 'any')
  assert.deepEqual(new Set(pinned()), new Set(['1']), 'they are where the emulator is')
  await world.assertCleanAudit()
})
