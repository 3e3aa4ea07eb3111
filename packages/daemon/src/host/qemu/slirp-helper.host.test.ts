/** What a guest reaches through slirp: never what listens on the host's loopback, but for who came to it by a forward. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectPair, readNamespaces, readProcessStatus } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { createNicServers } from './network-helper.ts'
import { openRawGuest, type RawGuest } from './testing/raw-guest.ts'

const helperUid = 2_100_900_003
const skip = needs('root', 'qemu')
const guestPort = 5353
const withinMs = 5_000
/** What slirp takes for the host itself: its gateway, loopback, everybody, nobody. */
const loopbacks = ['10.0.2.2', '127.0.0.1', '127.1.2.3', '255.255.255.255', '0.0.0.0'] as const

interface Served {
  readonly guest: RawGuest
  readonly hostPort: number
  /** The process of the host that carries frames. */
  readonly pid: number
}

async function serve(t: TestContext): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-slirp-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'cgroup.procs'), '')
  const [guestEnd, helperEnd] = await connectPair(folder)
  const hostPort = await freePort()
  const forwards = [{ protocol: 'udp' as const, hostAddress: '127.0.0.1', hostPort, guestPort }]
  const plan = { nic: 'net0', mac: '52:54:00:00:00:01', forwards }
  const qemu = async () => '/usr/bin/qemu-system-x86_64'
  await createNicServers({ passt: '/nonexistent/passt', qemu }).start({
    cgroup: folder,
    helperUid,
    trees: [],
    nics: [{ plan, fd: helperEnd.fd }],
    signal: AbortSignal.timeout(20_000),
  })
  helperEnd.release()
  const guest = openRawGuest(guestEnd.fd)
  t.after(async () => {
    guest.close()
    await eventually('all of it ends', async () => (await helperPids()).length === 0)
  })
  const [pid] = await helperPids()
  assert.ok(pid !== undefined)
  return { guest, hostPort, pid }
}

/** Those of the helpers' user, the first of them first. */
async function helperPids(): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0)
  const found: number[] = []
  for (const pid of pids.sort((a, b) => a - b))
    if ((await readProcessStatus(pid, pid))?.uids[0] === helperUid) found.push(pid)
  return found
}

async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}

async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const start = performance.now(); performance.now() - start < withinMs; await sleep(20))
    if (await isSo()) return
  assert.fail(what)
}

test('a guest reaches nothing on the loopback of the host, but answers who came by a forward', {
  skip,
}, async (t) => {
  const { guest, hostPort } = await serve(t)
  const heard: string[] = []
  const listener = createSocket('udp4', (message) => heard.push(`secret ${message.toString()}`)).bind(
    0,
    '127.0.0.1',
  )
  const peer = createSocket('udp4', (message) => heard.push(`peer ${message.toString()}`)).bind(
    0,
    '127.0.0.1',
  )
  const server = createServer(() => heard.push('connection')).listen(0, '127.0.0.1')
  t.after(() => [listener, peer, server].map((each) => each.close()))
  await Promise.all([listener, peer, server].map((each) => once(each, 'listening')))
  const port = listener.address().port
  const { port: tcpPort } = server.address() as AddressInfo // It listens on a port.

  peer.send('question', hostPort, '127.0.0.1')
  await eventually('the forward leads to the guest', () => guest.received.length > 0)
  const [question] = guest.received
  for (const to of loopbacks) {
    guest.sendUdp({ to, from: guestPort, port }, `from the forwarded port to ${to}`)
    guest.sendUdp({ to, from: 4000, port }, `to ${to}`)
    guest.sendSyn({ to, from: 4001, port: tcpPort })
  }
  guest.sendUdp({ to: '10.0.2.2', from: guestPort, port: question?.port ?? 0 }, 'answer')
  await eventually('the answer comes back', () => heard.length > 0)
  await sleep(300)

  assert.deepEqual(question, { from: '10.0.2.2', port: peer.address().port, text: 'question' })
  assert.deepEqual(heard, ['peer answer'])
})

test('what serves has no privileges, sees nothing of the host but its programs, and ends with its socket', {
  skip,
}, async (t) => {
  const { guest, pid } = await serve(t)
  const pids = await helperPids()
  const own = await readNamespaces('self')

  assert.equal(pids.length, 2, 'what carries the frames, and QEMU')
  for (const each of pids) {
    const status = await readProcessStatus(each, each)
    assert.ok(Object.values(status?.capabilities ?? { none: 1n }).every((set) => set === 0n))
    assert.equal(status?.noNewPrivileges, true)
    const spaces = await readNamespaces(each)
    assert.deepEqual(
      Object.keys(own).filter((kind) => spaces[kind] === own[kind] && /^(mnt|pid|ipc|uts|net)$/.test(kind)),
      ['net'],
    )
    const root = (await readdir(`/proc/${each}/root`)).filter((name) => !/^s?bin$|^lib/.test(name))
    assert.deepEqual(root.sort(), ['etc', 'old', 'usr'])
    assert.deepEqual(await readdir(`/proc/${each}/root/old`), [])
    assert.deepEqual(await readdir(`/proc/${each}/root/etc`), ['resolv.conf'])
    const mounts = await readFile(`/proc/${each}/mountinfo`, 'utf8')
    assert.ok(
      mounts
        .trim()
        .split('\n')
        .every((line) => / ro,nosuid,nodev/.test(line)),
      mounts,
    )
  }

  guest.close()
  await eventually('it ends', async () => !(await helperPids()).includes(pid))
  await eventually('its QEMU ends', async () => (await helperPids()).length === 0)
})
