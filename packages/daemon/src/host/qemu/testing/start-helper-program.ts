/** Starts a network helper, of the passt at a path where one is given, in whatever network this process is in, with a guest that asks something of it, and passes on what that says. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectPair } from '@kvasir/linux'
import { createNicServers } from '../network-helper.ts'

const [cgroup = '', helperUid = '', passt] = process.argv.slice(2)
const directory = await mkdtemp(join(tmpdir(), 'kvasir-passt-'))
const [guestEnd, helperEnd] = await connectPair(directory)
const forwards = [{ protocol: 'tcp' as const, hostAddress: '127.0.0.1', hostPort: 2222, guestPort: 22 }]
const qemu = async () => '/usr/bin/qemu-system-x86_64'
await createNicServers({ passt, qemu }).start({
  cgroup,
  trees: [],
  helperUid: Number(helperUid),
  nics: [{ plan: { nic: 'net0', mac: '52:54:00:00:00:01', forwards }, fd: helperEnd.fd }],
  signal: AbortSignal.timeout(20_000),
})
helperEnd.release()
const guest = spawn(process.execPath, [join(import.meta.dirname, 'network-guest-program.ts')], {
  stdio: ['pipe', 'pipe', 'inherit', guestEnd.fd],
})
guestEnd.release()
guest.stdout?.once('data', (said: Buffer) => {
  process.stdout.write(said)
  guest.stdin?.end()
})
guest.once('exit', () => void rm(directory, { recursive: true }))
