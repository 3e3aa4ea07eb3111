import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseMountInfo, parseProcessStat, parseProcessStatus, readDescriptors, readThreads } from './proc.ts'

test('a name with spaces and brackets does not shift the fields of stat', () => {
  const rest = Array.from({ length: 18 }, (_, index) => String(index)).join(' ')

  const stat = parseProcessStat(`42 (a) b (c) S 7 ${rest} 99`)

  assert.deepEqual(stat, { state: 'S', parentPid: 7, startTicks: 17 })
})

test('what is not a stat line is undefined', () => {
  for (const text of ['', '42', '42 (x) S', ')', '42 (x) S a b'])
    assert.equal(parseProcessStat(text), undefined)
})

test('capabilities, ids and seccomp are read from status', () => {
  const status = parseProcessStatus(
    'Name:\tqemu\nUid:\t5\t6\t7\t8\nGid:\t1\t1\t1\t1\nGroups:\t \nThreads:\t3\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\n' +
      'CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n',
  )

  assert.deepEqual(status.uids, [5, 6, 7, 8])
  assert.deepEqual(status.groups, [])
  assert.equal(status.capabilities.permitted, 1n)
  assert.equal(status.capabilities.bounding, 0x1ffffffffffn)
  assert.equal(status.noNewPrivileges, true)
  assert.equal(status.seccompMode, 2)
  assert.equal(status.seccompFilters, 1)
})

test('mounts with optional fields and escaped paths are read', () => {
  const [mount] = parseMountInfo(
    '36 35 98:0 /a\\040b /m\\134n rw,noatime master:1 shared:2 - ext4 /dev/x rw,errors=continue\n',
  )

  assert.deepEqual(mount, {
    id: 36,
    parentId: 35,
    root: '/a b',
    mountPoint: '/m\\n',
    options: ['rw', 'noatime'],
    fileSystem: 'ext4',
    source: '/dev/x',
    superOptions: ['rw', 'errors=continue'],
  })
})

test('a process that is not there has nothing and throws nothing', async () => {
  assert.deepEqual(await readThreads(4_194_305), [])
  assert.deepEqual(await readDescriptors(4_194_305), new Map())
})
