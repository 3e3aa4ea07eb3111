import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lockFile, tryLockFile } from './file-lock.ts'

const nobodyWaits = () => assert.fail('nobody has to wait')

function lockPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-lock-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'made/by/the/lock')
}

test('an exclusive lock keeps everybody else out until it is given back', async (t) => {
  const path = lockPath(t)
  {
    await using _ours = await lockFile(path, { kind: 'exclusive', onWait: nobodyWaits })

    assert.equal(await tryLockFile(path, 'exclusive'), undefined)
    assert.equal(await tryLockFile(path, 'shared'), undefined)
  }

  await using again = await tryLockFile(path, 'exclusive')

  assert.ok(again)
})

test('a shared lock is held by several, and by nobody alone', async (t) => {
  const path = lockPath(t)
  await using _first = await lockFile(path, { kind: 'shared', onWait: nobodyWaits })
  await using _second = await lockFile(path, { kind: 'shared', onWait: nobodyWaits })

  assert.equal(await tryLockFile(path, 'exclusive'), undefined)
})

test('who has to wait is told so and gets the lock once it is free', async (t) => {
  const path = lockPath(t)
  const first = await lockFile(path, { kind: 'exclusive', onWait: nobodyWaits })
  const waits = Promise.withResolvers<void>()

  const second = lockFile(path, { kind: 'exclusive', onWait: waits.resolve })
  await waits.promise
  await first[Symbol.asyncDispose]()

  await using _ = await second
})

test('a lock is free when its holder was killed, though a child of it runs on', async (t) => {
  const path = lockPath(t)
  const program = `
    import { spawn } from 'node:child_process'
    import { lockFile } from ${JSON.stringify(join(import.meta.dirname, 'file-lock.ts'))}
    await lockFile(${JSON.stringify(path)}, { kind: 'exclusive', onWait() {} })
    console.log(spawn('sleep', ['60'], { detached: true, stdio: 'ignore' }).pid)
    setInterval(() => {}, 1000)`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(holder.stdout.setEncoding('utf8'), 'data')
  t.after(() => process.kill(Number(line)))
  assert.equal(await tryLockFile(path, 'shared'), undefined)

  holder.kill('SIGKILL')
  await once(holder, 'exit')

  await using lock = await tryLockFile(path, 'exclusive')
  assert.ok(lock)
})
