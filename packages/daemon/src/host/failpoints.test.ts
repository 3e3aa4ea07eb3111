import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { createFailpoints } from './failpoints.ts'

test('without arms a failpoint does nothing', async () => {
  await createFailpoints({})('vm.start.after-launch')
})

test('an armed failpoint fails its step and no other', async () => {
  const failpoint = createFailpoints({ KVASIR_FAILPOINT: 'vm.start.after-launch:throw' })

  await failpoint('vm.start.before-launch')
  await assert.rejects(failpoint('vm.start.after-launch'), /vm\.start\.after-launch is armed/)
})

test('a delay waits', async () => {
  const failpoint = createFailpoints({ KVASIR_FAILPOINT: 'vm.start.after-launch:delay=30' })
  const before = performance.now()

  await failpoint('vm.start.after-launch')

  assert.ok(performance.now() - before >= 28)
})

test('names and actions that do not exist are refused at start', () => {
  for (const text of [
    'vm.nowhere:exit',
    'vm.start.after-launch',
    'vm.start.after-launch:explode',
    'vm.start.after-launch:delay=',
    'vm.start.after-launch:delay=-1',
    'vm.start.after-launch:exit,vm.nowhere:stop',
  ])
    assert.throws(
      () => createFailpoints({ KVASIR_FAILPOINT: text }),
      (error) => error instanceof KvasirError && error.code === 'bad-request',
      text,
    )
})

test('a file arms a daemon that runs, and no file arms nothing', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-failpoint-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const file = join(directory, 'armed')
  const failpoint = createFailpoints({ KVASIR_FAILPOINT: `@${file}` })

  await failpoint('vm.start.after-launch')
  await writeFile(file, 'vm.start.after-launch:throw')
  await assert.rejects(failpoint('vm.start.after-launch'), /vm\.start\.after-launch is armed/)
  await rm(file)
  await failpoint('vm.start.after-launch')
})

test('the log names every point reached, up to the one that ends the daemon', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-failpoint-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const log = join(directory, 'log')
  const program = `
    import { createFailpoints } from '${import.meta.resolve('./failpoints.ts')}'
    const failpoint = createFailpoints(process.env)
    await failpoint('vm.start.before-launch')
    await failpoint('vm.start.after-launch')
    await failpoint('vm.start.after-resume')`

  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: 'ignore',
    env: { ...process.env, KVASIR_FAILPOINT: 'vm.start.after-launch:exit', KVASIR_FAILPOINT_LOG: log },
  })
  const [, signal] = await once(child, 'exit')

  assert.equal(signal, 'SIGKILL')
  assert.equal(await readFile(log, 'utf8'), 'vm.start.before-launch\nvm.start.after-launch\n')
})

test('the times tell when each point was reached, on the clock that all processes share', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-failpoint-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const file = join(directory, 'times')
  const failpoint = createFailpoints({ KVASIR_FAILPOINT_TIMES: file })

  const before = process.hrtime.bigint() / 1_000_000n
  await failpoint('vm.start.before-launch')

  const [name, ms] = (await readFile(file, 'utf8')).trimEnd().split(' ')
  assert.equal(name, 'vm.start.before-launch')
  assert.ok(Number(ms) >= Number(before) && Number(ms) < Number(before) + 60_000)
})
