/** Qcow2 files that were cut short, looked for by a process that can be killed where they lie on what may hang. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, truncateSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { requireSoundFile } from './sound-tables.ts'

const skip = needs('root', 'qemu')
const whose = { disk: 'data', consequence: 'the VM does not run' }

async function newFile(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-sound-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'data.qcow2')
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, '16M'])
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 1M', path])
  return path
}

const look = (path: string, guarded: boolean) =>
  requireSoundFile(
    { kind: 'file', path, access: 'read-write', direct: true, ...(guarded ? { guarded: true } : {}) },
    whose,
  )

/** The processes of this one that run a program. */
function childrenThatRun(program: string): readonly number[] {
  const all = readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  )
  return all.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(program))
}

test('a file that ends before its table of clusters is refused, on what may hang as on a disk of this host', {
  skip,
}, async (t) => {
  const path = await newFile(t)
  for (const guarded of [false, true]) await look(path, guarded)
  truncateSync(path, 3 * 65_536)

  for (const guarded of [false, true])
    await assert.rejects(look(path, guarded), (error) => {
      assert.ok(error instanceof KvasirError && error.code === 'volume-damaged', String(error))
      assert.match(error.message, /disk data lies on .* ends before its table of clusters .* does not run/)
      return true
    })
  truncateSync(path, 0)
  for (const one of [path, `${path}.gone`]) for (const guarded of [false, true]) await look(one, guarded) // For others to refuse.
})

test('what does not answer is given up in time, and the process that looked ends', { skip }, async (t) => {
  const path = await newFile(t)
  const looking = look(path, true)
  looking.catch(() => {})

  const pids = childrenThatRun('pool-hands.pl')
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  const begun = performance.now()

  await assert.rejects(looking, { code: 'pool-unreachable', message: /does not answer .* within 5 s/ })
  assert.equal(pids.length, 1)
  assert.ok(performance.now() - begun < 9_000)
  while (childrenThatRun('pool-hands.pl').length > 0) await new Promise((resolve) => setTimeout(resolve, 20))
})
