import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runCommand } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { makeNetworkDirectory, startNetworkHelpers } from './network-helper.ts'

const helperUid = 2_100_900_001
const emulatorUid = 2_100_900_002
const rounds = 10

/** A folder in place of a cgroup: the helper writes its pid into the file that a kernel would offer there. */
async function place(t: { after(fn: () => Promise<void>): void }) {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-passt-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'cgroup.procs'), '')
  return { folder, directory: join(folder, 'network') }
}

function request(at: { folder: string; directory: string }, forwards: number[] = []) {
  return {
    directory: at.directory,
    cgroup: at.folder,
    emulatorUid,
    helperUid,
    nics: [
      {
        nic: 'net0',
        socketName: 'net0.net',
        mac: '52:54:00:00:00:01',
        forwards: forwards.map((hostPort) => ({
          protocol: 'tcp' as const,
          hostAddress: '127.0.0.1',
          hostPort,
          guestPort: 22,
        })),
      },
    ],
    signal: AbortSignal.timeout(20_000),
  }
}

test('a helper that is ready listens, every time, and lives on', {
  skip: needs('root', 'passt'),
}, async (t) => {
  for (let round = 0; round < rounds; round++) {
    const at = await place(t)

    await makeNetworkDirectory(at.directory)
    await startNetworkHelpers(request(at))
    const peer = connect(join(at.directory, 'net0.net'))
    t.after(async () => void peer.destroy()) // The helper ends with its only connection.
    await once(peer, 'connect')
    await sleep(50)

    assert.equal(peer.readyState, 'open')
  }
})

test('QEMU reaches the socket whatever the umask of the daemon', {
  skip: needs('root', 'passt'),
}, async (t) => {
  const at = await place(t)
  const before = process.umask(0o077)
  t.after(async () => void process.umask(before))

  await makeNetworkDirectory(at.directory)
  await startNetworkHelpers(request(at))
  const peer = connect(join(at.directory, 'net0.net'))
  t.after(async () => void peer.destroy())
  await once(peer, 'connect')

  assert.equal((await stat(at.directory)).mode & 0o777, 0o711)
  const socket = await stat(join(at.directory, 'net0.net'))
  assert.equal(socket.uid, emulatorUid)
})

test('a forward whose port is taken is refused with the reason', {
  skip: needs('root', 'passt'),
}, async (t) => {
  const at = await place(t)
  const other = (await import('node:net')).createServer().listen(0, '127.0.0.1')
  t.after(async () => void other.close())
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0

  await makeNetworkDirectory(at.directory)
  const started = startNetworkHelpers(request(at, [port]))

  await assert.rejects(started, (error: Error) => /NIC net0 cannot be served/.test(error.message))
  assert.match(await readFile(join(at.folder, 'cgroup.procs'), 'utf8'), /^\d+\n$/)
})

test('a host without any network still gives a VM its forwards', {
  skip: needs('root', 'passt'),
}, async (t) => {
  const at = await place(t)
  const program = join(import.meta.dirname, 'testing', 'start-helper-program.ts')

  const { stdout } = await runCommand(
    ['unshare', '--net', process.execPath, program, at.folder, String(helperUid)],
    { timeoutMs: 20_000 },
  )

  assert.match(stdout, /connected/)
})
