import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { CommandError, type CommandFailure, runCommand, runJsonCommand } from './run-command.ts'

test('a command gets its arguments unparsed, its input, and nothing of our environment', async () => {
  const echoed = await runCommand(['printf', '%s|', 'a b', '$HOME', '`id`'], { timeoutMs: 5_000 })
  const copied = await runCommand(['cat'], { timeoutMs: 5_000, input: 'text' })
  const environment = await runCommand(['env'], { timeoutMs: 5_000, env: { EXTRA: '1' } })

  assert.equal(echoed.stdout, 'a b|$HOME|`id`|')
  assert.equal(copied.stdout, 'text')
  const names = environment.stdout
    .trim()
    .split('\n')
    .map((line) => line.split('=')[0])
  assert.deepEqual(new Set(names), new Set(['EXTRA', 'LC_ALL', 'PATH']))
})

test('an exit code that was not accepted is an error with argv, code and the end of stderr', async () => {
  const script = 'seq 1 100000 >&2; echo last words >&2; exit 3'

  const error = await failureOf(runCommand(['sh', '-c', script], { timeoutMs: 5_000 }))
  const accepted = await runCommand(['sh', '-c', 'exit 3'], { timeoutMs: 5_000, acceptExitCodes: [0, 3] })

  assert.equal(error.failure, 'exit' satisfies CommandFailure)
  assert.equal(error.exitCode, 3)
  assert.deepEqual(error.argv, ['sh', '-c', script])
  assert.match(error.stderr, /last words\n$/)
  assert.ok(error.stderr.length <= 8192)
  assert.equal(accepted.exitCode, 3)
})

test('what a command prints on either stream is told as it comes', async () => {
  const told = { out: '', err: '' }

  await runCommand(['sh', '-c', 'echo half; echo 50% >&2'], {
    timeoutMs: 60_000,
    onStdout: (text) => (told.out += text),
    onStderr: (text) => (told.err += text),
  })

  assert.deepEqual(told, { out: 'half\n', err: '50%\n' })
})

test('a command that takes too long is killed with its children', async () => {
  const startedAt = performance.now()

  const error = await failureOf(
    runCommand(['sh', '-c', 'sleep 30 & sleep 30; echo never'], { timeoutMs: 100 }),
  )

  assert.equal(error.failure, 'timeout' satisfies CommandFailure)
  assert.ok(performance.now() - startedAt < 5_000)
})

test('an aborted command is killed, and one aborted before is not started', async () => {
  const later = new AbortController()
  setTimeout(() => later.abort(), 50)

  const running = await failureOf(runCommand(['sleep', '30'], { timeoutMs: 5_000, signal: later.signal }))
  const before = await failureOf(runCommand(['no-such'], { timeoutMs: 5_000, signal: AbortSignal.abort() }))

  assert.equal(running.failure, 'aborted' satisfies CommandFailure)
  assert.equal(before.failure, 'aborted' satisfies CommandFailure)
})

test('output without end is cut and the command killed', async () => {
  const error = await failureOf(runCommand(['yes'], { timeoutMs: 5_000, maxOutputBytes: 10_000 }))

  assert.equal(error.failure, 'output-too-large' satisfies CommandFailure)
})

test('a command that is of no use without us ends with us, however we end', async () => {
  const program = `
    import { runCommand } from '${import.meta.resolve('./run-command.ts')}'
    await runCommand(['/bin/sh', '-c', 'echo $$; exec sleep 30'], {
      timeoutMs: 30_000,
      endsWithUs: true,
      onStdout: (text) => process.stdout.write(text),
    })`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [said] = await once(child.stdout, 'data')
  const pid = Number(String(said))

  child.kill('SIGKILL')
  await once(child, 'exit')

  const deadline = performance.now() + 2_000
  const runs = async () =>
    /^State:\s+[^ZX]/m.test(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''))
  while ((await runs()) && performance.now() < deadline) await pause(10)
  assert.equal(await runs(), false)
})

test('a program that is not there is named', async () => {
  const error = await failureOf(runCommand(['no-such-program'], { timeoutMs: 5_000 }))

  assert.equal(error.failure, 'missing' satisfies CommandFailure)
  assert.match(error.message, /^no-such-program is not installed/)
})

test('JSON is parsed, nothing is undefined, and anything else is an error', async () => {
  const value = await runJsonCommand(['printf', '{"a":1}'], { timeoutMs: 5_000 })
  const nothing = await runJsonCommand(['true'], { timeoutMs: 5_000 })
  const error = await failureOf(runJsonCommand(['echo', 'oops'], { timeoutMs: 5_000 }))

  assert.deepEqual(value, { a: 1 })
  assert.equal(nothing, undefined)
  assert.equal(error.failure, 'not-json' satisfies CommandFailure)
})

async function failureOf(promise: Promise<unknown>): Promise<CommandError> {
  const reason = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(reason instanceof CommandError, String(reason))
  return reason
}
