/** The bytes of NBD (NetworkBlockDevice/nbd: doc/proto.md): numbers, requests, and what answers say. No connection. */

export const magic = {
  greeting: 0x4e42444d41474943n,
  option: 0x49484156454f5054n,
  optionReply: 0x3e889045565a9n,
  request: 0x25609513,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef,
} as const

export const command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  writeZeroes: 6,
  blockStatus: 7,
} as const

export const option = { abort: 2, go: 7, structuredReply: 8, setMetaContext: 10 } as const
export const optionReply = { ack: 1, info: 3, error: 2 ** 31, unsupported: 2 ** 31 + 1 } as const
export const infoType = { export: 0 } as const
export const replyType = { none: 0, data: 1, hole: 2, blockStatus: 5 } as const

export const flags = { fixedNewstyle: 1, noZeroes: 2, replyDone: 1, hole: 1, zero: 2 } as const
const allocation = Buffer.from('base:allocation')

/** A request, without what is written. */
export function requestBytes(
  type: number,
  {
    cookie,
    offset,
    lengthBytes,
  }: { readonly cookie: bigint; readonly offset: number; readonly lengthBytes: number },
): Buffer {
  const bytes = Buffer.alloc(28)
  bytes.writeUInt32BE(magic.request, 0)
  bytes.writeUInt16BE(type, 6)
  bytes.writeBigUInt64BE(cookie, 8)
  bytes.writeBigUInt64BE(BigInt(offset), 16)
  bytes.writeUInt32BE(lengthBytes, 24)
  return bytes
}

export const handshake = {
  /** The answer to the greeting. Throws for what is no server of this kind. */
  answer(greeting: Buffer): Buffer {
    const isKnown =
      greeting.readBigUInt64BE(0) === magic.greeting && greeting.readBigUInt64BE(8) === magic.option
    if (!isKnown || (greeting.readUInt16BE(16) & flags.fixedNewstyle) === 0)
      throw new Error('What listens is no NBD server that is known here.')
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(flags.fixedNewstyle | (greeting.readUInt16BE(16) & flags.noZeroes))
    return bytes
  },

  option(number: number, data: Buffer): Buffer {
    const header = Buffer.alloc(16)
    header.writeBigUInt64BE(magic.option, 0)
    header.writeUInt32BE(number, 8)
    header.writeUInt32BE(data.length, 12)
    return Buffer.concat([header, data])
  },

  /** Asks to be told which parts are holes. */
  metaContext(exportName: string): Buffer {
    return Buffer.concat([sized(Buffer.from(exportName)), uint32(1), sized(allocation)])
  },

  /** Asks for an export, and for nothing else about it. */
  go(exportName: string): Buffer {
    return Buffer.concat([sized(Buffer.from(exportName)), Buffer.alloc(2)])
  },
} as const

/** What comes before the payload of an answer to an option. */
export function parseOptionReply(
  bytes: Buffer,
  wanted: number,
): { readonly type: number; readonly lengthBytes: number } {
  if (bytes.readBigUInt64BE(0) !== magic.optionReply || bytes.readUInt32BE(8) !== wanted)
    throw new Error('The NBD server answered what it was not asked.')
  return { type: bytes.readUInt32BE(12), lengthBytes: bytes.readUInt32BE(16) }
}

export type ChunkHeader =
  | { readonly kind: 'simple'; readonly cookie: bigint; readonly errno: number }
  | { readonly kind: 'structured'; readonly cookie: bigint; readonly type: number; readonly isLast: boolean }

/** The first 16 bytes of an answer; those of a structured one are followed by the length of its payload. */
export function parseChunkHeader(start: Buffer, rest: Buffer): ChunkHeader {
  const found = start.readUInt32BE()
  if (found === magic.simpleReply)
    return { kind: 'simple', cookie: rest.readBigUInt64BE(4), errno: rest.readUInt32BE(0) }
  if (found !== magic.structuredReply) throw new Error('The NBD server sent what is no answer.')
  return {
    kind: 'structured',
    cookie: rest.readBigUInt64BE(4),
    type: rest.readUInt16BE(2),
    isLast: (rest.readUInt16BE(0) & flags.replyDone) !== 0,
  }
}

/** What parts a volume has, of a payload that begins with the number of its context. */
export function parseExtents(
  payload: Buffer,
): readonly { readonly lengthBytes: number; readonly isZero: boolean; readonly isHole: boolean }[] {
  const count = Math.floor((payload.length - 4) / 8)
  return Array.from({ length: Math.max(0, count) }, (_, index) => {
    const state = payload.readUInt32BE(8 + 8 * index)
    return {
      lengthBytes: payload.readUInt32BE(4 + 8 * index),
      isZero: (state & flags.zero) !== 0,
      isHole: (state & flags.hole) !== 0,
    }
  })
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function sized(bytes: Buffer): Buffer {
  return Buffer.concat([uint32(bytes.length), bytes])
}
