import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProcessMount, ProcessStatus } from '@kvasir/linux'
import { type CageReport, cageBreaches, type ExpectedCage } from './inspect-cage.ts'

const status: ProcessStatus = {
  name: 'qemu',
  uids: [5, 5, 5, 5],
  gids: [5, 5, 5, 5],
  groups: [],
  threads: 1,
  capabilities: { inheritable: 0n, permitted: 0n, effective: 0n, bounding: 0n, ambient: 0n },
  noNewPrivileges: true,
  seccompMode: 2,
  seccompFilters: 1,
}

const report: CageReport = {
  pid: 42,
  threads: [{ name: 'qemu', status }],
  namespaces: { mnt: 'mnt:[2]', net: 'net:[2]', ipc: 'ipc:[2]', uts: 'uts:[2]', user: 'user:[1]' },
  hostNamespaces: { mnt: 'mnt:[1]', net: 'net:[1]', ipc: 'ipc:[1]', uts: 'uts:[1]', user: 'user:[1]' },
  mounts: [
    mount('/', 'ro,nosuid,nodev,noexec'),
    mount('/', 'ro,nosuid,nodev,noexec'),
    mount('/dev', 'ro,nosuid,noexec'),
    mount('/usr', 'ro,nosuid,nodev'),
    mount('/run/vm', 'rw,nosuid,nodev,noexec'),
  ],
  rootEntries: ['bin', 'boot', 'dev', 'usr', 'run'],
  descriptors: new Map([
    [0, '/dev/null'],
    [1, '/run/kvasir/vms/a/output.fifo'],
    [10, 'socket:[7]'],
    [11, '/var/lib/kvasir/disk.qcow2'],
  ]),
  hostDescriptors: new Map([[20, 'socket:[8]']]),
  links: ['lo'],
  cgroup: '/kvasir/vm-a',
  environment: [],
}

const expected: ExpectedCage = {
  uid: 5,
  gid: 5,
  cgroup: '/sys/fs/cgroup/kvasir/vm-a',
  binds: [{ place: '/run/vm', writable: true }],
  files: ['/run/kvasir/vms/a/output.fifo', '/var/lib/kvasir/disk.qcow2'],
  seccompFilters: 1,
}

test('a cage that holds has no breaches, nor has one whose threads are in groups of their own', () => {
  assert.deepEqual(cageBreaches(report, expected), [])
  assert.deepEqual(cageBreaches({ ...report, cgroup: '/kvasir/vm-a/emulator' }, expected), [])
})

test('memory of a GPU is for a program that has its render node', () => {
  const node = '/dev/dri/renderD128'
  const descriptors = new Map([
    [12, node],
    [13, '/dmabuf:'],
  ])
  const mounts = [
    ...report.mounts,
    mount('/dev/dri', 'ro,nosuid,noexec'),
    mount('/sys', 'ro,nosuid,nodev,noexec'),
  ]
  const draws = {
    ...expected,
    files: [node],
    binds: [...expected.binds, { place: '/dev/dri' }, { place: '/sys' }],
  } as const

  assert.deepEqual(cageBreaches({ ...report, descriptors, mounts }, draws), [])
  assert.equal(cageBreaches({ ...report, descriptors }, expected).length, 2)
  assert.equal(cageBreaches({ ...report, mounts }, expected).length, 2)
})

const planted: readonly [string, Partial<CageReport>, RegExp][] = [
  ['another uid', withStatus({ uids: [5, 0, 5, 5] }), /uids 5 0 5 5/],
  ['another gid', withStatus({ gids: [5, 5, 5, 0] }), /gids/],
  ['a group', withStatus({ groups: [5, 6] }), /groups 5 6/],
  [
    'a bounding capability',
    withStatus({ capabilities: { ...status.capabilities, bounding: 1n } }),
    /bounding/,
  ],
  ['an ambient capability', withStatus({ capabilities: { ...status.capabilities, ambient: 8n } }), /ambient/],
  ['new privileges', withStatus({ noNewPrivileges: false }), /gain privileges/],
  ['no filter', withStatus({ seccompMode: 0, seccompFilters: 0 }), /no system call filter/],
  ['too few filters', withStatus({ seccompFilters: 0 }), /0 system call filters/],
  ["the host's network", { namespaces: { ...report.namespaces, net: 'net:[1]' } }, /host's net namespace/],
  ['an unreadable namespace', { namespaces: {} }, /host's mnt namespace/],
  ['a second link', { links: ['lo', 'eth0'] }, /eth0/],
  ['a foreign mount', { mounts: [...report.mounts, mount('/etc', 'ro,nosuid,nodev')] }, /\/etc is mounted/],
  [
    'a writable /usr',
    { mounts: [...report.mounts, mount('/usr', 'rw,nosuid,nodev')] },
    /\/usr can be written/,
  ],
  ['set-uid programs', { mounts: [...report.mounts, mount('/usr', 'ro,nodev')] }, /set-uid/],
  ['device nodes', { mounts: [...report.mounts, mount('/run/vm', 'rw,nosuid,noexec')] }, /device nodes/],
  [
    'programs of its own',
    { mounts: [...report.mounts, mount('/run/vm', 'rw,nosuid,nodev')] },
    /executed from/,
  ],
  ['no lid on its root', { mounts: report.mounts.slice(1) }, /user namespaces/],
  ['the host in its root', { rootEntries: ['etc'] }, /\/etc is in its root/],
  ['a foreign file', { descriptors: new Map([[12, '/etc/shadow']]) }, /\/etc\/shadow open/],
  ['a directory', { descriptors: new Map([[12, '/']]) }, /\/ open/],
  ['a socket of ours', { descriptors: new Map([[12, 'socket:[8]']]) }, /shares socket/],
  [
    'the listener of its own connects',
    { descriptors: new Map([[12, 'anon_inode:seccomp notify']]) },
    /its own connects go on/,
  ],
  ['another cgroup', { cgroup: '/user.slice' }, /cgroup/],
  ['the cgroup of a VM with a longer name', { cgroup: '/kvasir/vm-ab' }, /cgroup/],
  ['the root cgroup', { cgroup: '/' }, /cgroup/],
  ['an environment', { environment: ['TOKEN=x'] }, /TOKEN\./],
  ['no process', { threads: [] }, /has ended/],
]

for (const [name, change, sentence] of planted) {
  test(`${name} is a breach`, () => {
    const breaches = cageBreaches({ ...report, ...change }, expected)

    assert.ok(
      breaches.some((breach) => sentence.test(breach)),
      breaches.join('\n') || 'no breach was found',
    )
  })
}

function withStatus(change: Partial<ProcessStatus>): Partial<CageReport> {
  return { threads: [...report.threads, { name: 'worker', status: { ...status, ...change } }] }
}

function mount(mountPoint: string, options: string): ProcessMount {
  return {
    id: 1,
    parentId: 0,
    root: '/',
    mountPoint,
    options: options.split(','),
    fileSystem: 'tmpfs',
    source: 'x',
    superOptions: [],
  }
}
