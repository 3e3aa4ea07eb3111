import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
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
  const parent = spawn('sh', ['-c', 'sh -c "exit 0" & echo $!; exec sleep 30'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const pid = Number(await new Promise<Buffer>((resolve) => parent.stdout.once('data', resolve)))
  await new Promise((resolve) => setTimeout(resolve, 100))

  const identity = await identifyProcess(pid)

  assert.ok(identity !== undefined, 'the zombie is still in /proc')
  assert.equal(await isAlive(identity), false)
  parent.kill('SIGKILL')
})

test('no process has no identity', async () => {
  assert.equal(await identifyProcess(4_194_305), undefined)
})
