/** Programs for a cage that knock at servers, and servers of the test that they knock at. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import type { Reach } from '../../../model/storage/reach.ts'

/** Connects to each `address port` and says what came of it: what the server sent, or the number of the error. */
export const knocker = `
use Socket qw(inet_pton);
while (@ARGV) {
    my ($host, $port) = splice @ARGV, 0, 2;
    my $six = $host =~ /:/;
    my $address = $six ? pack('SnNa16N', 10, $port, 0, inet_pton(10, $host), 0) : pack('Sna4x8', 2, $port, inet_pton(2, $host));
    socket my $socket, $six ? 10 : 2, 1, 0;
    if (connect $socket, $address) { sysread $socket, my $said, 100; print "$said\\n" } else { print "error ", $! + 0, "\\n" }
}`

/** The same over and over. */
export const forever = knocker.replace(
  'while (@ARGV) {',
  'my @all = @ARGV; $| = 1; while (1) { @ARGV or @ARGV = @all; select undef, undef, undef, 0.05;',
)

/** ENETUNREACH: what an empty network namespace says. */
export const unreachable = 'error 101'

/** A server of the test. */
export interface TestServer extends AsyncDisposable {
  readonly port: number
  lastPeerPort(): number | undefined
}

/** All of it. */
export function at({ port }: TestServer): Reach {
  return { address: '127.0.0.1', firstPort: port }
}

/** A server that says its name and whom it listens for. */
export async function listen(name: string, host = '127.0.0.1'): Promise<TestServer> {
  let peerPort: number | undefined
  const server: Server = createServer((socket) => {
    peerPort = socket.remotePort
    socket.on('error', () => {})
    socket.end(`${name} for ${host}`)
  })
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    port: address.port,
    lastPeerPort: () => peerPort,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  }
}
