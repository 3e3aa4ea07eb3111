import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { planThreads, type ThreadRole } from '../../model/placement/plan-threads.ts'
import { claimWorkers } from './claim-workers.ts'
import type { SeenThread } from './emulator-threads.ts'

const cpus = [0, 1, 2, 3]
const host = { present: cpus, online: cpus, allowed: cpus, inherited: cpus }
const { cpu } = vmSpec.parse({ cpu: { pin: { emulator: '0', ioThreads: { root: '1', data: '2' } } } })
const plan = planThreads({ name: 'web1', cpu }, host)

function thread(
  name: string,
  role: ThreadRole,
  where: { readonly list: string; readonly cgroup?: string },
): SeenThread {
  return {
    pid: 40,
    threadId: 41,
    role,
    cgroup: where.cgroup ?? '/kvasir/vm-1',
    report: {
      name,
      cpuSeconds: 0,
      waitSeconds: 0,
      lastCpu: 0,
      allowedList: where.list,
      allowedCpus: [],
      policy: 'other',
      priority: 0,
    },
  }
}

const emulator: ThreadRole = { kind: 'emulator' }
const childOf = (role: ThreadRole) => (role.kind === 'io' ? `io-${role.disk}` : role.kind)
const rolesOf = (seen: readonly SeenThread[]) =>
  seen.map(({ role }) => ('disk' in role ? role.disk : role.kind))

test('a worker counts as that of the I/O thread where it is, any other as the emulator’s', () => {
  const seen = [
    thread('IO io-root', { kind: 'io', disk: 'root' }, { list: '1' }),
    thread('IO io-data', { kind: 'io', disk: 'data' }, { list: '2' }),
    thread('worker', emulator, { list: '2' }),
    thread('worker', emulator, { list: '0' }),
    thread('worker', emulator, { list: '0-3' }),
    thread('call_rcu', emulator, { list: '2' }),
  ]

  const claimed = claimWorkers(seen, { plan, child: undefined })

  assert.deepEqual(rolesOf(claimed), ['root', 'data', 'data', 'emulator', 'emulator', 'emulator'])
})

test('where the cgroup of a VM is divided, a worker’s cgroup tells whose it is', () => {
  const seen = [
    thread('IO io-root', { kind: 'io', disk: 'root' }, { list: '0-3', cgroup: '/kvasir/vm-1/io-root' }),
    thread('worker', emulator, { list: '0-3', cgroup: '/kvasir/vm-1/io-root' }),
    thread('worker', emulator, { list: '0-3', cgroup: '/kvasir/vm-1/emulator' }),
  ]

  assert.deepEqual(rolesOf(claimWorkers(seen, { plan, child: childOf })), ['root', 'root', 'emulator'])
})
