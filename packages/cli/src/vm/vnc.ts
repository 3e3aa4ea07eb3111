/**
 * `kvasir vm vnc`: a VM's display for a VNC viewer of this machine, until Ctrl-C. RFB without a password is all that the guest's display
 * speaks, so whoever can reach the port sees the screen and can type; by default only this machine can.
 */
import type { Action } from '../command.ts'
import { isLoopback, parseListenAddress, writeAddress } from './listen-address.ts'
import { servePort } from './serve-display.ts'

/** Viewers at one time. */
const maxViewers = 16

export const serveDisplay: Action = async (context) => {
  const name = context.argument('NAME')
  const { output } = context
  await servePort(context, {
    name,
    protocol: 'vnc',
    wanted: parseListenAddress(context.value('listen')),
    most: maxViewers,
    async announce(address) {
      const url = `vnc://${writeAddress(address)}`
      await output.result({ url, ...address }, () => `${url}\n`)
      output.message(`A VNC viewer finds the display of VM ${name} there, until Ctrl-C.`)
      if (!isLoopback(address))
        output.message(`Whoever can reach ${writeAddress(address)} sees it and can type, without a password.`)
    },
  })
  return undefined
}
