/**
 * The server's side of NBD for one client that writes a disk from its beginning to its end and reads nothing: a backup job of QEMU with
 * one worker (NetworkBlockDevice/nbd: doc/proto.md). What it writes is told in order; the next request is not read before who is told
 * has taken the last, so the client waits and nothing gathers here.
 *
 * Not here: how the client gets its connection (host/qemu/push-job.ts).
 */
import type { Socket } from 'node:net'
import { KvasirError } from '@kvasir/contract'
import { ByteQueue } from './byte-queue.ts'
import { command, flags, infoType, magic, option, optionReply } from './nbd-words.ts'

/** The largest request that is taken; QEMU's backup job writes 1 MiB at a time. */
const maxRequestBytes = 32 * 2 ** 20
const maxOptionBytes = 4096
const exportFlags = { hasFlags: 1, sendFlush: 4, sendWriteZeroes: 64 } as const
const einval = 22
const requestHeaderBytes = 28

/** A part that was written, and where it begins. */
export interface WrittenPart {
  readonly offset: number
  readonly lengthBytes: number
  /** Undefined for zeros. */
  readonly bytes: Uint8Array | undefined
}

/**
 * What a client writes to a disk of this size, until it says good-bye. Throws `emulator-failed` when it goes without, or asks for what is
 * not offered.
 */
export async function* takeWrites(socket: Socket, sizeBytes: number): AsyncGenerator<WrittenPart> {
  const queue = new ByteQueue(socket)
  try {
    await greet(socket, queue, sizeBytes)
    for (;;) {
      const request = parseRequest(await queue.take(requestHeaderBytes))
      const { type, cookie, offset, lengthBytes } = request
      if (type === command.disconnect) return
      if (type === command.flush) {
        socket.write(reply(cookie, 0))
        continue
      }
      const isWrite = type === command.write
      if (!isWrite && type !== command.writeZeroes) {
        socket.write(reply(cookie, einval))
        continue
      }
      if (offset + lengthBytes > sizeBytes || (isWrite && lengthBytes > maxRequestBytes))
        throw new Error(`It wrote ${lengthBytes} bytes at ${offset} of ${sizeBytes}.`)
      const bytes = isWrite ? Buffer.allocUnsafe(lengthBytes) : undefined
      if (bytes) await queue.fill(bytes)
      socket.write(reply(cookie, 0))
      yield { offset, lengthBytes, bytes }
    }
  } catch (cause) {
    if (cause instanceof KvasirError) throw cause
    throw new KvasirError('emulator-failed', 'The emulator broke off what it was sending of a disk.', {
      cause,
    })
  } finally {
    socket.destroy()
  }
}

async function greet(socket: Socket, queue: ByteQueue, sizeBytes: number): Promise<void> {
  const greeting = Buffer.alloc(18)
  greeting.writeBigUInt64BE(magic.greeting, 0)
  greeting.writeBigUInt64BE(magic.option, 8)
  greeting.writeUInt16BE(flags.fixedNewstyle | flags.noZeroes, 16)
  socket.write(greeting)
  const answered = (await queue.take(4)).readUInt32BE()
  if ((answered & flags.noZeroes) === 0) throw new Error('It speaks an old form of NBD.')
  for (;;) {
    const header = await queue.take(16)
    const [number, lengthBytes] = [header.readUInt32BE(8), header.readUInt32BE(12)]
    if (header.readBigUInt64BE(0) !== magic.option || lengthBytes > maxOptionBytes)
      throw new Error('What it sent is no option of NBD.')
    await queue.take(lengthBytes)
    if (number === option.go) {
      socket.write(optionAnswer(number, optionReply.info, sizeInfo(sizeBytes)))
      socket.write(optionAnswer(number, optionReply.ack))
      return
    }
    if (number === option.abort) throw new Error('It went without an export.')
    socket.write(optionAnswer(number, optionReply.unsupported))
  }
}

function sizeInfo(sizeBytes: number): Buffer {
  const info = Buffer.alloc(12)
  info.writeUInt16BE(infoType.export, 0)
  info.writeBigUInt64BE(BigInt(sizeBytes), 2)
  info.writeUInt16BE(exportFlags.hasFlags | exportFlags.sendFlush | exportFlags.sendWriteZeroes, 10)
  return info
}

function optionAnswer(number: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20)
  header.writeBigUInt64BE(magic.optionReply, 0)
  header.writeUInt32BE(number, 8)
  header.writeUInt32BE(type, 12)
  header.writeUInt32BE(data.length, 16)
  return Buffer.concat([header, data])
}

function parseRequest(bytes: Buffer): {
  readonly type: number
  readonly cookie: bigint
  readonly offset: number
  readonly lengthBytes: number
} {
  if (bytes.readUInt32BE(0) !== magic.request) throw new Error('What it sent is no request of NBD.')
  return {
    type: bytes.readUInt16BE(6),
    cookie: bytes.readBigUInt64BE(8),
    offset: Number(bytes.readBigUInt64BE(16)),
    lengthBytes: bytes.readUInt32BE(24),
  }
}

function reply(cookie: bigint, errno: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32BE(magic.simpleReply, 0)
  bytes.writeUInt32BE(errno, 4)
  bytes.writeBigUInt64BE(cookie, 8)
  return bytes
}
