import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KvasirError } from '@kvasir/contract'
import { connectPair, runCommand, type SocketEnd } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { createNicServers } from './network-helper.ts'

const helperUid = 2_100_900_001
const rounds = 5
const qemuPath = '/usr/bin/qemu-system-x86_64'
/** Those that can serve: by the path of passt that is looked at. */
const servers = [
  { name: 'passt', passt: undefined, skip: needs('root', 'passt') },
  { name: 'slirp', passt: '/nonexistent/passt', skip: needs('root', 'qemu') },
] as const
const answerMs = 5_000
const program = join(import.meta.dirname, 'testing', 'start-helper-program.ts')

interface Place {
  readonly folder: string
  readonly guestEnd: SocketEnd
  readonly helperEnd: SocketEnd
}

/** A folder in place of a cgroup: the helper writes its pid into the file that a kernel would offer there. */
async function openPlace(t: TestContext): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-passt-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'cgroup.procs'), '')
  const [guestEnd, helperEnd] = await connectPair(folder)
  t.after(() => {
    guestEnd.release() // The helper ends with its only connection.
    helperEnd.release()
  })
  return { folder, guestEnd, helperEnd }
}

function requestFor(place: Place, forwards: readonly number[] = []) {
  const plan = {
    nic: 'net0',
    mac: '52:54:00:00:00:01',
    forwards: forwards.map((hostPort) => ({
      protocol: 'tcp' as const,
      hostAddress: '127.0.0.1',
      hostPort,
      guestPort: 22,
    })),
  }
  return {
    cgroup: place.folder,
    helperUid,
    trees: [],
    nics: [{ plan, fd: place.helperEnd.fd }],
    signal: AbortSignal.timeout(20_000),
  }
}

/** A process in QEMU's place, which has said what it wants before anybody reads it. */
function startGuest(t: TestContext, { guestEnd }: Place): ChildProcess {
  const guest = spawn(process.execPath, [join(import.meta.dirname, 'testing', 'network-guest-program.ts')], {
    stdio: ['pipe', 'pipe', 'inherit', guestEnd.fd],
  })
  t.after(() => void guest.kill('SIGKILL'))
  return guest
}

async function wordOf(guest: ChildProcess): Promise<string> {
  const [word] = await once(guest.stdout ?? guest, 'data', { signal: AbortSignal.timeout(answerMs) })
  return String(word)
}

for (const { name, passt, skip } of servers) {
  const helpers = createNicServers({ passt, qemu: async () => qemuPath })

  test(`${name} that is ready serves, every time, and lives on without us`, { skip }, async (t) => {
    for (let round = 0; round < rounds; round++) {
      const place = await openPlace(t)

      await helpers.start(requestFor(place))
      place.helperEnd.release()
      await sleep(50)
      const guest = startGuest(t, place)
      place.guestEnd.release()

      assert.equal(await wordOf(guest), 'answered\n')
    }
  })

  test(`what a guest says before ${name} is there is not lost`, { skip }, async (t) => {
    const place = await openPlace(t)

    const guest = startGuest(t, place)
    await sleep(200)
    await helpers.start(requestFor(place))

    assert.equal(await wordOf(guest), 'answered\n')
  })

  test(`a forward whose port is taken is refused with the reason, as ${name} says it`, {
    skip,
  }, async (t) => {
    const place = await openPlace(t)
    const other = (await import('node:net')).createServer().listen(0, '127.0.0.1')
    t.after(async () => void other.close())
    await once(other, 'listening')
    const address = other.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0

    const started = helpers.start(requestFor(place, [port]))

    const who = new RegExp(`has port ${port} of tcp at 127.0.0.1 already, so NIC net0 cannot have that port`)
    await assert.rejects(started, who)
    assert.match(await readFile(join(place.folder, 'cgroup.procs'), 'utf8'), /^\d+\n$/)
  })

  test(`a host without any network still gives a VM its forwards, by ${name}`, { skip }, async (t) => {
    const place = await openPlace(t)
    const argv = ['unshare', '--net', process.execPath, program, place.folder, String(helperUid)] as const

    const { stdout } = await runCommand(passt ? [...argv, passt] : argv, { timeoutMs: 20_000 })

    assert.match(stdout, /answered/)
  })
}

test('a host with neither passt nor slirp says what to install', { skip: needs('root') }, async (t) => {
  const place = await openPlace(t)
  const qemu = async () => '/nonexistent/qemu-system-x86_64'
  const helpers = createNicServers({ passt: '/nonexistent/passt', qemu })

  await assert.rejects(helpers.start(requestFor(place)), (error: KvasirError) => {
    assert.equal(error.code, 'unsupported')
    assert.match(error.message, /passt is not installed, which serves NIC net0 .* install the package passt/)
    return true
  })
})
