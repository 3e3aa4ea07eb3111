import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startScriptedDaemon } from '@kvasir/sdk/testing/scripted-daemon'
import { kvasir, kvasirProcess, script, vmNamed } from './testing/run-command-line.ts'

test('a long answer is printed whole, however slow its reader, and on its own stream', async () => {
  const vms = Array.from({ length: 400 }, (_, index) => vmNamed(`vm${index}`))
  await using daemon = await startScriptedDaemon({ request: () => ({ json: vms }) })
  const ran = await kvasirProcess(['vm', 'list', '-o', 'json'], daemon)
  assert.deepEqual([ran.code, JSON.parse(ran.stdout).length, ran.stderr], [0, 400, ''])
})

test('the process ends with the exit code of what went wrong, and says it on its own stream', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const ran = await kvasirProcess(['vm', 'show', 'web2'], daemon)
  assert.deepEqual([ran.code, ran.stdout], [3, ''])
  assert.match(ran.stderr, /There is no VM/)
})

test('vm edit applies what the editor made of the spec, and keeps the file when it cannot', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-edit-test-'))
  try {
    const environment = { EDITOR: `sed -i 's/^  description: .*/  description: edited/'`, TMPDIR: folder }
    await using daemon = await startScriptedDaemon({ request: script })
    const ran = await kvasirProcess(['vm', 'edit', 'web1'], { ...daemon, environment })
    assert.equal(ran.code, 0, ran.stderr)
    const put = daemon.asked.find((asked) => asked.method === 'PUT')
    assert.equal(put?.headers['if-match'], '"3"')
    assert.match(JSON.stringify(put?.body), /"description":"edited"/)

    await using refusing = await startScriptedDaemon({
      request: (asked) =>
        asked.method === 'PUT'
          ? { refuse: 'revision-mismatch', sentence: 'VM web1 has changed since.' }
          : script(asked),
    })
    const kept = await kvasirProcess(['vm', 'edit', 'web1'], { ...refusing, environment })
    assert.equal(kept.code, 1)
    const file = /Your text is kept: (\S+)/.exec(kept.stderr)?.[1] ?? ''
    assert.match(await readFile(file, 'utf8'), /description: edited/)

    const untouched = await kvasirProcess(['vm', 'edit', 'web1'], {
      ...daemon,
      environment: { ...environment, EDITOR: 'true' },
    })
    assert.deepEqual([untouched.code, untouched.stderr], [0, 'Nothing was changed.\n'])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('event watch prints events, survives a cut, and ends with 130 on Ctrl-C', async () => {
  await using daemon = await startScriptedDaemon({
    stream(socket, { query }) {
      const seq = Number(query.get('after')) + 1
      socket.send(
        JSON.stringify({
          seq,
          at: '2026-01-01T00:00:00Z',
          kind: 'vm.state',
          subject: 'web1',
          data: { state: 'running' },
        }),
      )
      if (seq < 3) setTimeout(() => socket.terminate(), 20)
    },
  })
  const ran = await kvasirProcess(['event', 'watch', '--after', '0', '-q'], {
    ...daemon,
    interruptAfter: '3 2026',
  })
  assert.equal(ran.code, 130)
  assert.deepEqual(
    ran.stdout.trimEnd().split('\n'),
    [1, 2, 3].map((seq) => `${seq} 2026-01-01T00:00:00Z vm.state web1 state=running`),
  )
})

test('a console shows what comes, sends stdin, and ends when the VM does', async () => {
  const typed: string[] = []
  await using daemon = await startScriptedDaemon({
    request: () => ({
      status: 201,
      json: { ticket: 't/1', url: '/v1/streams/console', expiresAt: '2099-01-01T00:00:00Z' },
    }),
    stream(socket, { path, query }) {
      assert.deepEqual([path, query.get('ticket')], ['/v1/streams/console', 't/1'])
      socket.send(JSON.stringify({ kind: 'hello', mode: 'write', scrollbackBytes: 6 }))
      socket.send(Buffer.from('login:'))
      socket.send(JSON.stringify({ kind: 'notice', text: 'somebody watches' }))
      socket.on('message', (data: Buffer) => {
        typed.push(data.toString())
        socket.send(Buffer.from(' root\n'))
        setTimeout(() => socket.close(1000, 'VM web1 was shut down'), 20)
      })
    },
  })
  const ran = await kvasirProcess(['vm', 'console', 'web1', '--take-over'], { ...daemon, input: 'root\n' })

  assert.equal(ran.code, 0, ran.stderr)
  assert.deepEqual(daemon.asked[0]?.body, { mode: 'take-over' })
  assert.equal(ran.stdout, 'login: root\n')
  assert.deepEqual(typed, ['root\n'])
  assert.match(ran.stderr, /somebody watches[\s\S]*VM web1 was shut down/)
})

test('a console that breaks off is unreachable; one that is taken says what to do', async () => {
  const ticket = { json: { ticket: 't', url: '/v1/streams/console', expiresAt: '2099-01-01T00:00:00Z' } }
  await using breaking = await startScriptedDaemon({
    request: () => ticket,
    stream: (socket) => socket.terminate(),
  })
  assert.equal((await kvasirProcess(['vm', 'console', 'web1'], breaking)).code, 5)

  await using taken = await startScriptedDaemon({
    request: () => ({ refuse: 'console-taken', sentence: 'Ann writes to the console of VM web1.' }),
  })
  const ran = await kvasirProcess(['vm', 'console', 'web1'], taken)
  assert.equal(ran.code, 1)
  assert.match(ran.stderr, /Ann writes.*--read-only.*--take-over/)
})

test('names for completion come from the daemon; without one there are none, and no error', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  assert.equal((await kvasir(['complete', '--', 'vm', 'start', 'w'], daemon)).stdout, 'web1\n')
  assert.deepEqual(await kvasir(['complete', '--', 'vm', 'start', 'w']), { code: 0, stdout: '', stderr: '' })
})

test('completion scripts are scripts of their shells', async () => {
  const bash = await kvasir(['completion', 'bash'])
  assert.match(bash.stdout, /complete -o default -F _kvasir kvasir/)
  const checked = spawn('bash', ['-n'], { stdio: ['pipe', 'ignore', 'inherit'] })
  checked.stdin.end(bash.stdout)
  const { promise, resolve } = Promise.withResolvers<number | null>()
  checked.on('close', resolve)
  assert.equal(await promise, 0)
  assert.equal((await kvasir(['completion', 'tcsh'])).code, 2)
})
