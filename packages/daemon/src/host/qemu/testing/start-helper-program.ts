/** Starts a network helper in whatever network this process is in, connects to it as QEMU does, and says `connected`. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { makeNetworkDirectory, startNetworkHelpers } from '../network-helper.ts'

const [cgroup = '', helperUid = ''] = process.argv.slice(2)
const directory = join(cgroup, 'network')
const forwards = [{ protocol: 'tcp' as const, hostAddress: '127.0.0.1', hostPort: 2222, guestPort: 22 }]
await makeNetworkDirectory(directory)
await startNetworkHelpers({
  directory,
  cgroup,
  emulatorUid: Number(helperUid) + 1,
  helperUid: Number(helperUid),
  nics: [{ nic: 'net0', socketName: 'net0.net', mac: '52:54:00:00:00:01', forwards }],
  signal: AbortSignal.timeout(20_000),
})
const peer = connect(join(directory, 'net0.net'))
await once(peer, 'connect')
process.stdout.write('connected\n')
peer.destroy()
