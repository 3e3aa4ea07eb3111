/**
 * One viewer of a display, or reader of disks: bytes between a connection and a stream of the daemon, no faster than the slower side takes them.
 *
 * Not here: who may connect, and how the stream was opened (vm/vnc.ts).
 */
import type { Socket } from 'node:net'
import type { MessageSocket } from '@kvasir/sdk'

/** Passes bytes on until either side ends, and gives which did. */
export async function bridgeDisplay(viewer: Socket, display: MessageSocket): Promise<'viewer' | 'display'> {
  const send = async (bytes: Buffer): Promise<void> => {
    viewer.pause()
    try {
      await display.send(bytes)
      viewer.resume()
    } catch {
      viewer.destroy()
    }
  }
  viewer.on('data', (bytes: Buffer) => void send(bytes))
  viewer.on('error', () => {}) // A connection that breaks is closed next.
  const gone = Promise.withResolvers<void>()
  viewer.on('close', () => {
    display.close()
    gone.resolve()
  })
  viewer.resume()

  const messages = display.messages()
  for (;;) {
    const next = await messages.next()
    if (next.done) {
      const isGone = viewer.destroyed
      viewer.end()
      return isGone ? 'viewer' : 'display'
    }
    if (next.value.kind !== 'bytes' || viewer.destroyed) continue
    if (!viewer.write(next.value.bytes)) await Promise.race([drained(viewer), gone.promise])
  }
}

async function drained(viewer: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  viewer.once('drain', resolve)
  await promise
}
