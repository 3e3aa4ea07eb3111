/**
 * `kvasir vm spice`: a VM's display for a SPICE viewer of this machine, until Ctrl-C, and the file that tells the viewer where it is: what
 * virt-viewer calls a connection file (remote-viewer(1)). Each channel of SPICE is a connection of its own. The password in it is good for
 * two minutes, for one viewer; who is there by then stays.
 */
import { writeFile } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { isLoopback, type ListenAddress, parseListenAddress, writeAddress } from './listen-address.ts'
import { servePort } from './serve-display.ts'

/** Connections at one time: viewers have a dozen channels. */
const maxChannels = 64

export const serveSpice: Action = async (context) => {
  const name = context.argument('NAME')
  const file = context.optional('FILE')
  const { client, output, signal } = context
  await servePort(context, {
    name,
    protocol: 'spice',
    wanted: parseListenAddress(context.value('listen')),
    most: maxChannels,
    async announce(address) {
      const given = await client.call(routes.spicePassword, { params: { name }, signal })
      const text = connectionFile(name, address, given.password)
      if (file !== undefined) await keep(file, text)
      if (file === undefined || output.format !== 'table')
        await output.result({ ...address, ...given }, () => text)
      const where = file === undefined ? writeAddress(address) : file
      output.message(`A SPICE viewer finds the display of VM ${name} by ${where}, until Ctrl-C.`)
      if (!isLoopback(address))
        output.message(
          `What is passed on at ${writeAddress(address)} is not encrypted: anybody between can read it.`,
        )
    },
  })
  return undefined
}

/** Keys and values as remote-viewer reads them; names of VMs have no characters that would need quoting. */
function connectionFile(name: string, { host, port }: ListenAddress, password: string): string {
  const fields = {
    type: 'spice',
    host,
    port,
    password,
    title: `${name} (Kvasir)`,
    'delete-this-file': 1,
  }
  const lines = Object.entries(fields).map(([key, value]) => `${key}=${value}`)
  return ['[virt-viewer]', ...lines, ''].join('\n')
}

/** It holds a password, so nobody else may read it. */
async function keep(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    const why = isThere ? 'is there already' : 'cannot be written'
    throw new KvasirError('host-failed', `File ${file} ${why}, so the display is not served.`, { cause })
  }
}
