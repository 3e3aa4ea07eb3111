/**
 * Messages of iSCSI (RFC 7143, section 11), as far as it takes to log in and to ask a target what it has: bytes from values and back. What
 * comes from a target is a stranger's: lengths are checked before anything is taken from them.
 */

const headerBytes = 48

/** The longest data of one message that is taken; said to the target as MaxRecvDataSegmentLength. */
export const mostDataBytes = 256 * 1024

const immediate = 0x40
const opcodes = { scsiCommand: 0x01, login: 0x03, logout: 0x06 } as const

/** What a target sends. */
export const answers = {
  nop: 0x20,
  scsiResponse: 0x21,
  login: 0x23,
  dataIn: 0x25,
  logout: 0x26,
  asyncMessage: 0x32,
  reject: 0x3f,
} as const

/** A message of a target: its header and its data. */
export interface Answer {
  readonly opcode: number
  readonly header: Buffer
  readonly data: Buffer
}

/** The stages of a login. */
export const stages = { security: 0, operational: 1, full: 3 } as const
export type Stage = (typeof stages)[keyof typeof stages]

interface Counters {
  readonly task: number
  readonly command: number
  /** What is expected of the target next. */
  readonly status: number
}

/** A request of a login, with its keys. The session is a new one. */
export function loginRequest(
  keys: readonly (readonly [string, string])[],
  options: Counters & {
    readonly isid: Buffer
    readonly stage: Stage
    /** The stage that it asks to go on to. */
    readonly next: Stage | undefined
  },
): Buffer {
  const data = Buffer.from(keys.map(([key, value]) => `${key}=${value}\0`).join(''))
  const header = Buffer.alloc(headerBytes)
  header[0] = opcodes.login | immediate
  header[1] = (options.stage << 2) | (options.next === undefined ? 0 : 0x80 | options.next)
  options.isid.copy(header, 8, 0, 6)
  writeCounters(header, options)
  return message(header, data)
}

/** What a target answers to a login. */
export interface LoginAnswer {
  readonly isLast: boolean
  readonly next: number
  readonly statusNumber: number
  /** Class and detail in one number, such as 0x0201; 0 while all is well. */
  readonly status: number
  readonly keys: ReadonlyMap<string, string>
}

/** Reads the answer to a login. */
export function parseLogin({ header, data }: Answer): LoginAnswer {
  const flags = header.readUInt8(1)
  return {
    isLast: (flags & 0x80) !== 0,
    next: flags & 3,
    statusNumber: header.readUInt32BE(24),
    status: header.readUInt16BE(36),
    keys: new Map(
      data
        .toString('utf8')
        .split('\0')
        .flatMap((pair) => {
          const at = pair.indexOf('=')
          return at > 0 ? [[pair.slice(0, at), pair.slice(at + 1)] as const] : []
        }),
    ),
  }
}

/** A SCSI command that reads at most so many bytes. */
export function commandRequest(
  cdb: readonly number[],
  options: Counters & { readonly lun: number; readonly bytes: number },
): Buffer {
  const header = Buffer.alloc(headerBytes)
  header[0] = opcodes.scsiCommand
  header[1] = 0x80 | 0x40 | 1 // Final, reads, simple.
  writeLun(header, options.lun)
  header.writeUInt32BE(options.bytes, 20)
  writeCounters(header, options)
  Buffer.from(cdb).copy(header, 32)
  return header
}

/** The end of a session. */
export function logoutRequest(counters: Counters): Buffer {
  const header = Buffer.alloc(headerBytes)
  header[0] = opcodes.logout | immediate
  header[1] = 0x80
  writeCounters(header, counters)
  return header
}

/** One whole message from the beginning of what was received, and how many bytes it took; undefined until it is there. */
export function takeAnswer(
  received: Buffer,
): { readonly answer: Answer; readonly bytes: number } | undefined {
  if (received.length < headerBytes) return undefined
  const extra = received.readUInt8(4) * 4
  const length = received.readUIntBE(5, 3)
  if (length > mostDataBytes) throw new RangeError(`A message of ${length} bytes is longer than was agreed.`)
  const begin = headerBytes + extra
  const bytes = begin + Math.ceil(length / 4) * 4
  if (received.length < bytes) return undefined
  const header = received.subarray(0, headerBytes)
  return {
    answer: { opcode: received.readUInt8(0) & 0x3f, header, data: received.subarray(begin, begin + length) },
    bytes,
  }
}

/** The numbers of LUNs in the answer to REPORT LUNS (SPC-4, 6.33; SAM-5, 4.7); those that are not below 16384 are left out. */
export function parseLuns(data: Buffer): readonly number[] {
  if (data.length < 8) return []
  const end = Math.min(data.length, 8 + data.readUInt32BE(0))
  const luns: number[] = []
  for (let at = 8; at + 8 <= end; at += 8) {
    const method = data.readUInt8(at) >> 6
    if (method <= 1) luns.push(((data.readUInt8(at) & 0x3f) << 8) | data.readUInt8(at + 1))
  }
  return [...new Set(luns)].sort((a, b) => a - b)
}

/** The bytes of a disk in the answer to READ CAPACITY(16) (SBC-3, 5.16); undefined where that makes no sense. */
export function parseCapacity(data: Buffer): number | undefined {
  if (data.length < 12) return undefined
  const bytes = (data.readBigUInt64BE(0) + 1n) * BigInt(data.readUInt32BE(8))
  return bytes > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(bytes)
}

function message(header: Buffer, data: Buffer): Buffer {
  header.writeUIntBE(data.length, 5, 3)
  return Buffer.concat([header, data, Buffer.alloc((4 - (data.length % 4)) % 4)])
}

function writeCounters(header: Buffer, { task, command, status }: Counters): void {
  header.writeUInt32BE(task >>> 0, 16)
  header.writeUInt32BE(command >>> 0, 24)
  header.writeUInt32BE(status >>> 0, 28)
}

/** Peripheral addressing below 256, flat above. */
function writeLun(header: Buffer, lun: number): void {
  if (lun < 256) header.writeUInt8(lun, 9)
  else header.writeUInt16BE(0x4000 | lun, 8)
}
