/**
 * The guest-agent client against the real agent, which listens on a UNIX socket in place of a guest's
 * channel. It answers for this machine, so only commands that change nothing but our own folder are run.
 */
import assert from 'node:assert/strict'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { lacking } from '../../../tools/require.ts'
import { QmpError } from './errors.ts'
import { GuestAgentClient } from './guest-agent.ts'
import { agentReturns } from './guest-agent-commands.ts'
import { type RunningProgram, startProgram } from './testing/emulator.ts'

const program = findAgent()
const skip =
  program === undefined && lacking('guest-agent', 'no qemu-ga (package qemu-guest-agent, or KVASIR_QEMU_GA)')

function findAgent(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
  const candidates = [
    process.env['KVASIR_QEMU_GA'] ?? '',
    ...folders.map((folder) => join(folder, 'qemu-ga')),
  ]
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

async function startAgent(): Promise<RunningProgram> {
  return await startProgram((folder) => {
    const channel = ['--method', 'unix-listen', '--path', join(folder, 'socket')]
    return [program ?? '', ...channel, '--statedir', folder, '--pidfile', join(folder, 'pid')]
  })
}

test('The real agent knows each command that is typed here', { skip }, async () => {
  await using agent = await startAgent()
  using client = await GuestAgentClient.connect({ path: agent.path })

  const { supported_commands: supported } = await client.execute('guest-info')

  const names = new Set(supported.map(({ name }) => name))
  assert.deepEqual(
    Object.keys(agentReturns).filter((name) => !names.has(name)),
    [],
  )
})

test("The real agent's answers have the shapes that we check", { skip }, async () => {
  await using agent = await startAgent()
  using client = await GuestAgentClient.connect({ path: agent.path })

  await client.execute('guest-ping')
  const interfaces = await client.execute('guest-network-get-interfaces')

  assert.equal((await client.execute('guest-get-host-name'))['host-name'], hostname())
  assert.ok(interfaces.some(({ name }) => name === 'lo'))
  assert.ok((await client.execute('guest-get-osinfo')).machine)
  assert.equal(await client.execute('guest-fsfreeze-status'), 'thawed')
  assert.ok(Math.abs((await client.execute('guest-get-time')) / 1e6 - Date.now()) < 5000)
})

test('A program runs in the guest and its output comes back', { skip }, async () => {
  await using agent = await startAgent()
  using client = await GuestAgentClient.connect({ path: agent.path })

  const { pid } = await client.execute('guest-exec', {
    path: '/bin/sh',
    arg: ['-c', 'cat; echo oops >&2; exit 3'],
    'input-data': Buffer.from('hello').toString('base64'),
    'capture-output': true,
  })
  let status = await client.execute('guest-exec-status', { pid })
  for (let i = 0; i < 200 && !status.exited; i++) {
    await delay(10)
    status = await client.execute('guest-exec-status', { pid })
  }

  assert.equal(status.exitcode, 3)
  assert.equal(Buffer.from(status['out-data'] ?? '', 'base64').toString(), 'hello')
  assert.equal(Buffer.from(status['err-data'] ?? '', 'base64').toString(), 'oops\n')
})

test('A file is written, sought and read in the guest', { skip }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-qmp-'))
  try {
    await using agent = await startAgent()
    using client = await GuestAgentClient.connect({ path: agent.path })

    const handle = await client.execute('guest-file-open', { path: join(folder, 'file'), mode: 'w+' })
    const text = Buffer.from('twelve bytes')
    const written = await client.execute('guest-file-write', { handle, 'buf-b64': text.toString('base64') })
    await client.execute('guest-file-flush', { handle })
    const sought = await client.execute('guest-file-seek', { handle, offset: 7, whence: 'set' })
    const read = await client.execute('guest-file-read', { handle, count: 100 })
    await client.execute('guest-file-close', { handle })

    assert.deepEqual([written.count, sought.position, read.count], [12, 7, 5])
    assert.equal(Buffer.from(read['buf-b64'], 'base64').toString(), 'bytes')
    assert.equal(await readFile(join(folder, 'file'), 'utf8'), 'twelve bytes')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('A refusal of the real agent is an error with its text', { skip }, async () => {
  await using agent = await startAgent()
  using client = await GuestAgentClient.connect({ path: agent.path })

  await assert.rejects(client.execute('guest-file-open', { path: '/nowhere/at/all' }), (error) => {
    assert.ok(error instanceof QmpError)
    assert.match(error.desc, /No such file/)
    return true
  })
  await assert.rejects(client.executeUntyped('guest-no-such-command'), { class: 'CommandNotFound' })
})

test('A stopped agent is a time-out; continued, it answers the next command and not the old one', {
  skip,
}, async () => {
  await using agent = await startAgent()
  using client = await GuestAgentClient.connect({ path: agent.path })
  agent.process.kill('SIGSTOP')

  await assert.rejects(client.execute('guest-get-time', undefined, { timeoutMs: 50 }), {
    name: 'QmpTimeoutError',
  })
  await assert.rejects(client.execute('guest-get-time', undefined, { timeoutMs: 50 }), {
    awaited: 'guest-sync-delimited',
  })
  agent.process.kill('SIGCONT')

  assert.equal((await client.execute('guest-get-host-name'))['host-name'], hostname())
})

test('A second client is served after the first has left in the middle of a command', { skip }, async () => {
  await using agent = await startAgent()
  const first = await GuestAgentClient.connect({ path: agent.path })
  const asked = first.execute('guest-get-osinfo')
  first.close()
  await assert.rejects(asked, { name: 'QmpClosedError' })

  using second = await GuestAgentClient.connect({ path: agent.path })
  await second.execute('guest-ping')
})
