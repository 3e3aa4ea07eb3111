import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { needs } from '../../../tools/require.ts'
import { readCpuSets } from './cpu-sets.ts'
import { readThread, setThreads } from './thread.ts'

/** A process that does nothing until the test has ended. */
async function sleeper(t: { after(work: () => void): void }): Promise<number> {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  t.after(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  return child.pid ?? 0
}

test('what is set is what the kernel says of the thread then', { skip: needs('root') }, async (t) => {
  const [one, other] = [await sleeper(t), await sleeper(t)]
  const { inherited } = await readCpuSets('/nonexistent')
  const last = inherited.slice(-1)

  const refused = await setThreads([
    { threadId: one, cpus: last, policy: 'batch' },
    { threadId: other, policy: 'idle' },
  ])

  assert.deepEqual(refused, [])
  const [first, second] = [await readThread(one, one), await readThread(other, other)]
  assert.deepEqual(first?.allowedCpus, last)
  assert.equal(first?.policy, 'batch')
  assert.deepEqual(second?.allowedCpus, inherited)
  assert.equal(second?.policy, 'idle')
})

test('a refusal names the thread and the error; a thread that has ended is none', {
  skip: needs('root'),
}, async (t) => {
  const pid = await sleeper(t)

  const refused = await setThreads([
    { threadId: pid, cpus: [8191] },
    { threadId: 2 ** 22 + 1, policy: 'batch' },
    { threadId: pid, policy: 'fifo', priority: 0 },
  ])

  const invalid = 22
  assert.deepEqual(refused, [
    { threadId: pid, what: 'affinity', errno: invalid },
    { threadId: pid, what: 'policy', errno: invalid },
  ])
})

test('the sets of CPUs lie in each other, and this process runs on one of them', async () => {
  const { present, online, allowed, inherited } = await readCpuSets('/nonexistent')
  const within = (inner: readonly number[], outer: readonly number[]) =>
    inner.every((cpu) => outer.includes(cpu))

  assert.ok(within(online, present) && within(allowed, online) && within(inherited, allowed))
  const own = await readThread(process.pid, process.pid)
  assert.ok(inherited.includes(own?.lastCpu ?? -1))
  assert.ok((own?.cpuSeconds ?? 0) > 0)
})
