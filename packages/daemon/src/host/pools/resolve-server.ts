/**
 * The address of a server by its name, asked of the system (getent: /etc/hosts, DNS) in a process that can be killed: a name server that
 * does not answer would hold one of Node's few threads for as long as it likes.
 */
import { isIP } from 'node:net'
import { runCommand } from '@kvasir/linux'

const timeoutMs = 5_000

/** An address in figures. Throws with a sentence for a name that has none. */
export async function resolveServer(host: string): Promise<string> {
  if (isIP(host) !== 0) return host
  const { stdout } = await runCommand(['getent', 'ahosts', host], { timeoutMs }).catch((cause: unknown) => {
    throw new Error(`the name ${host} has no address`, { cause })
  })
  const [address = ''] = stdout.split(/\s/)
  if (isIP(address) === 0) throw new Error(`the name ${host} has no address`)
  return address
}
