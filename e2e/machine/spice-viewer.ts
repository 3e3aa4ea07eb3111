/**
 * A SPICE viewer that gets as far as the list of channels: link, ticket, main channel (spice-protocol: protocol.h, enums.h). It asks for no
 * capability, so it is asked for the ticket at once.
 */
import assert from 'node:assert/strict'
import { constants, createPublicKey, publicEncrypt } from 'node:crypto'
import { connect } from 'node:net'
import { ByteReader } from './byte-reader.ts'

const magic = 'REDQ'
const major = 2
const minor = 2
const linkHeaderBytes = 16
const keyBytes = 162
const messageHeaderBytes = 18
const mainChannel = 1
const messages = { init: 103, channelsList: 104 } as const
const attachChannels = 104

/** The kinds of channels that are asked about here. */
export const spiceChannels = { display: 2, inputs: 3, usbRedirect: 9 } as const

/** What became of a link: refused with a number of the protocol (7: the password), or the kinds of the channels that there are. */
export type SpiceLink = { readonly refused: number } | { readonly channels: readonly number[] }

/** Opens the main channel of the SPICE server at a port of 127.0.0.1 with a password, and leaves. */
export async function linkSpice(port: number, password: string): Promise<SpiceLink> {
  const socket = connect(port, '127.0.0.1')
  try {
    const reader = new ByteReader(socket)
    socket.write(linkMessage())
    const header = await reader.take(linkHeaderBytes)
    assert.equal(header.toString('latin1', 0, 4), magic)
    const reply = await reader.take(header.readUInt32LE(12))
    assert.equal(reply.readUInt32LE(0), 0, 'The link is accepted.')
    socket.write(encrypted(reply.subarray(4, 4 + keyBytes), password))
    const refused = (await reader.take(4)).readUInt32LE()
    if (refused !== 0) return { refused }

    for (;;) {
      const head = await reader.take(messageHeaderBytes)
      const body = await reader.take(head.readUInt32LE(10))
      const kind = head.readUInt16LE(8)
      if (kind === messages.init) socket.write(emptyMessage(attachChannels))
      if (kind === messages.channelsList)
        return {
          channels: Array.from({ length: body.readUInt32LE() }, (_, index) => body[4 + 2 * index] ?? 0),
        }
    }
  } finally {
    socket.destroy()
  }
}

function linkMessage(): Buffer {
  const body = Buffer.alloc(18)
  body[4] = mainChannel
  body.writeUInt32LE(body.length, 14) // Capabilities would begin there.
  const header = Buffer.alloc(linkHeaderBytes)
  header.write(magic, 'latin1')
  header.writeUInt32LE(major, 4)
  header.writeUInt32LE(minor, 8)
  header.writeUInt32LE(body.length, 12)
  return Buffer.concat([header, body])
}

function encrypted(key: Buffer, password: string): Buffer {
  const publicKey = createPublicKey({ key, format: 'der', type: 'spki' })
  const options = { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }
  return publicEncrypt(options, Buffer.from(`${password}\0`))
}

function emptyMessage(kind: number): Buffer {
  const message = Buffer.alloc(messageHeaderBytes)
  message.writeBigUInt64LE(1n)
  message.writeUInt16LE(kind, 8)
  return message
}
