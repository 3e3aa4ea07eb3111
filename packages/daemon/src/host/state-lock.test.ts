import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { lockStateDirectory } from './state-lock.ts'

async function newDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-lock-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** A process that holds the lock and has a child that outlives it, as a daemon has its emulators. */
async function holder(t: TestContext, directory: string) {
  const program = `
    import { spawn } from 'node:child_process'
    import { lockStateDirectory } from '${import.meta.resolve('./state-lock.ts')}'
    lockStateDirectory(process.argv[1])
    const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
    process.stdout.write(child.pid + '\\n')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(child.stdout, 'data')
  const survivor = Number(String(line))
  t.after(() => {
    child.kill('SIGKILL')
    process.kill(survivor, 'SIGKILL')
  })
  return child
}

test('a second daemon on a state directory is refused and told who has it', async (t) => {
  const directory = await newDirectory(t)
  const child = await holder(t, directory)

  assert.throws(
    () => lockStateDirectory(directory),
    (error) =>
      error instanceof KvasirError &&
      error.code === 'daemon-running' &&
      error.details['pid'] === child.pid &&
      error.message.includes(`process ${child.pid},`),
  )
})

test('the lock dies with its daemon, even when what that daemon started lives on', async (t) => {
  const directory = await newDirectory(t)
  const child = await holder(t, directory)
  child.kill('SIGKILL')
  await once(child, 'exit')

  lockStateDirectory(directory).release()
})

test('a lock is held once in a process too, and can be taken again after its release', async (t) => {
  const directory = await newDirectory(t)
  const lock = lockStateDirectory(directory)

  assert.throws(() => lockStateDirectory(directory), /uses the state directory/)
  lock.release()

  lockStateDirectory(directory).release()
})

test('a lock in a directory that cannot be made says why', async (t) => {
  const directory = await newDirectory(t)
  await writeFile(join(directory, 'file'), '')

  assert.throws(
    () => lockStateDirectory(join(directory, 'file', 'state')),
    (error) => error instanceof KvasirError && error.code === 'host-failed',
  )
})
