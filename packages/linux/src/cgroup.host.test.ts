import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../../tools/require.ts'
import {
  CgroupError,
  cgroupExists,
  cgroupProcesses,
  ensureThreadedChild,
  findCgroupRoot,
  isCgroupPopulated,
  killCgroup,
  makeCgroup,
  moveProcess,
  moveThread,
  removeCgroup,
  writeCgroupLimits,
} from './cgroup.ts'

const skip = needs('root')

test('a group holds a process and its threads, is killed at once and removed', { skip }, async () => {
  const path = await makeTestGroup('a')
  const child = spawn('sh', ['-c', 'sleep 30 & sleep 30'], { stdio: 'ignore' })
  const pid = child.pid ?? 0

  await moveProcess(path, pid)
  const threads = await ensureThreadedChild(path, 'vcpu0')
  const moved = await moveThread(threads, pid)
  const gone = await moveThread(threads, 4_194_305)
  const processes = await cgroupProcesses(path)
  await killCgroup(path, { timeoutMs: 2_000 })

  assert.equal(moved, true)
  assert.equal(gone, false)
  assert.ok(processes.includes(pid))
  assert.equal(await isCgroupPopulated(path), false)
  await removeCgroup(path, { timeoutMs: 2_000 })
  assert.equal(await cgroupExists(path), false)
})

test('killing and removing what is not there does nothing', { skip }, async () => {
  const path = join((await findCgroupRoot()) ?? '', 'kvasir-test-none')

  await killCgroup(path, { timeoutMs: 100 })
  await removeCgroup(path, { timeoutMs: 100 })

  assert.deepEqual(await cgroupProcesses(path), [])
})

test('a group with a process in it is not removed, and says so', { skip }, async () => {
  const path = await makeTestGroup('b')
  const child = spawn('sleep', ['30'], { stdio: 'ignore' })
  await moveProcess(path, child.pid ?? 0)

  await assert.rejects(removeCgroup(path, { timeoutMs: 20 }), CgroupError)

  await killCgroup(path, { timeoutMs: 2_000 })
  await removeCgroup(path, { timeoutMs: 2_000 })
})

test('limits that the host does not know are named', { skip }, async () => {
  const path = await makeTestGroup('c')

  const refused = await writeCgroupLimits(path, { 'cgroup.max.descendants': '5', 'no.such': '1' })

  assert.deepEqual(refused, ['no.such'])
  await removeCgroup(path, { timeoutMs: 2_000 })
})

async function makeTestGroup(name: string): Promise<string> {
  const root = await findCgroupRoot()
  assert.ok(root !== undefined, 'this host has no cgroup v2')
  const path = join(root, `kvasir-test-linux-${process.pid}-${name}`)
  await makeCgroup(path)
  return path
}
