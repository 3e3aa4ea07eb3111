import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { identifyProcess, isAlive, waitUntilGone } from './process-identity.ts'

test('a process is alive until it ends, and another start time or boot is another process', async () => {
  const child = spawn('sleep', ['30'], { stdio: 'ignore' })
  const identity = await identifyProcess(child.pid ?? 0)
  assert.ok(identity !== undefined)

  const before = await isAlive(identity)
  const reused = await isAlive({ ...identity, startTicks: identity.startTicks - 1 })
  const rebooted = await isAlive({ ...identity, bootId: 'another' })
  const early = await waitUntilGone(identity, { timeoutMs: 20 })
  child.kill('SIGKILL')
  const gone = await waitUntilGone(identity, { timeoutMs: 2_000 })

  assert.deepEqual(
    { before, reused, rebooted, early, gone },
    { before: true, reused: false, rebooted: false, early: false, gone: true },
  )
})

test('a zombie is not alive', async () => {
  // The child ends only when its parent has become a program that never asks how.
  const parent = spawn('sh', ['-c', 'exec 3<&0; read line <&3 & echo $!; exec sleep 30'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const [bytes] = await once(parent.stdout, 'data')
  const pid = Number(bytes)
  await until(async () => (await readFile(`/proc/${parent.pid}/comm`, 'utf8')) === 'sleep\n')
  parent.stdin.end()
  await until(async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).includes(') Z '))

  const identity = await identifyProcess(pid)

  assert.ok(identity !== undefined, 'the zombie is still in /proc')
  assert.equal(await isAlive(identity), false)
  parent.kill('SIGKILL')
})

/** Looks every few milliseconds; the test's own time-out ends it. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(5)
}

test('no process has no identity', async () => {
  assert.equal(await identifyProcess(4_194_305), undefined)
})
