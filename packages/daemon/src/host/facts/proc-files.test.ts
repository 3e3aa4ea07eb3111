import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cgroupVersion } from './cgroup-facts.ts'
import { parseCpuInfo, parseMemInfo, parseTscKhz } from './proc-files.ts'

test('CPUs are counted and the flags of the first one read', () => {
  const text = [0, 1]
    .map(
      (n) =>
        `processor\t: ${n}\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu vme svm\nvmx flags\t: vnmi\n`,
    )
    .join('\n')

  assert.deepEqual(parseCpuInfo(text), {
    model: 'Some CPU @ 2.00GHz',
    count: 2,
    flags: ['fpu', 'vme', 'svm'],
  })
})

test('a cpuinfo without flags has none', () => {
  assert.deepEqual(parseCpuInfo('processor\t: 0\n'), { model: 'unknown', count: 1, flags: [] })
})

test('the time stamp counter is known where its rate is constant and not the momentary one of the CPU', () => {
  const text = (flags: string) => `processor\t: 0\ncpu MHz\t\t: 2596.122\nflags\t\t: ${flags}\n`

  assert.equal(parseTscKhz(text('fpu tsc constant_tsc')), 2_596_122)
  assert.equal(parseTscKhz(text('fpu tsc constant_tsc aperfmperf')), undefined)
  assert.equal(parseTscKhz(text('fpu tsc')), undefined)
  assert.equal(parseTscKhz('processor\t: 0\n'), undefined)
})

test('memory is in bytes', () => {
  const text = 'MemTotal:       24576000 kB\nMemFree:          100 kB\nMemAvailable:   20480000 kB\n'

  assert.deepEqual(parseMemInfo(text), { totalBytes: 24576000 * 1024, availableBytes: 20480000 * 1024 })
})

test('the cgroup version is told from what is mounted', () => {
  const mounts = (...fileSystems: string[]) => fileSystems.map((fileSystem) => ({ fileSystem }))

  assert.equal(cgroupVersion(mounts('ext4', 'cgroup2')), 'v2')
  assert.equal(cgroupVersion(mounts('cgroup', 'cgroup2')), 'hybrid')
  assert.equal(cgroupVersion(mounts('cgroup')), 'v1')
  assert.equal(cgroupVersion(mounts('ext4')), 'none')
})
