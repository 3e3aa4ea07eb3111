/**
 * A short session with an iSCSI target (RFC 7143): logs in, asks what there is, logs out. Nothing of the kernel, nothing that blocks: a
 * target that does not answer costs a socket until the deadline. No digests, one connection, one command at a time.
 *
 * Not here: reading and writing disks, which is QEMU's.
 */
import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import {
  type Answer,
  answers,
  commandRequest,
  loginRequest,
  logoutRequest,
  mostDataBytes,
  parseCapacity,
  parseLogin,
  parseLuns,
  type Stage,
  stages,
  takeAnswer,
} from '../../model/iscsi/pdu.ts'

export interface IscsiTarget {
  /** In figures. */
  readonly address: string
  readonly port: number
  readonly target: string
  readonly initiator: string
  readonly chap?: { readonly user: string; readonly secret: string } | undefined
}

/** A disk of a target. */
export interface Lun {
  readonly lun: number
  readonly sizeBytes: number
}

/** A target said no, in a sentence. */
export class IscsiRefused extends Error {
  override readonly name = 'IscsiRefused'
}

const mostLuns = 1024
/** A target tells news, such as that it was started, in the place of the first answers. */
const mostTries = 4

/** The disks of a target. Throws `IscsiRefused`, errors of the network, and what the signal says. */
export async function listLuns(target: IscsiTarget, signal: AbortSignal): Promise<readonly Lun[]> {
  const session = await IscsiSession.open(target, signal)
  try {
    const luns: Lun[] = []
    for (const lun of (await session.luns()).slice(0, mostLuns)) {
      const sizeBytes = await session.capacity(lun)
      if (sizeBytes !== undefined) luns.push({ lun, sizeBytes })
    }
    return luns
  } finally {
    session.close()
  }
}

class IscsiSession {
  readonly #socket: Socket
  readonly #answers: AsyncGenerator<Answer, undefined>
  #task = 1
  #command = 1
  #status = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#answers = answersOf(socket)
  }

  static async open(target: IscsiTarget, signal: AbortSignal): Promise<IscsiSession> {
    signal.throwIfAborted()
    const socket = connect({ host: target.address, port: target.port, signal })
    const session = new IscsiSession(socket)
    try {
      await session.#logIn(target)
      return session
    } catch (error) {
      socket.destroy()
      signal.throwIfAborted()
      throw error
    }
  }

  /** The numbers of what the target shows, its controller too. */
  async luns(): Promise<readonly number[]> {
    const bytes = 16 + mostLuns * 8
    return parseLuns(await this.#read(0, [0xa0, 0, 0, 0, 0, 0, ...bigEndian(bytes, 4), 0, 0], bytes))
  }

  /** The bytes of a disk; undefined for what is no disk. */
  async capacity(lun: number): Promise<number | undefined> {
    const inquiry = await this.#read(lun, [0x12, 0, 0, 0, 36, 0], 36)
    if (inquiry.length === 0 || (inquiry.readUInt8(0) & 0x1f) !== 0) return undefined
    return parseCapacity(
      await this.#read(lun, [0x9e, 0x10, ...bigEndian(0, 8), ...bigEndian(32, 4), 0, 0], 32),
    )
  }

  close(): void {
    this.#socket.on('error', () => {}) // Nobody waits for what it says now.
    this.#socket.write(logoutRequest(this.#counters()))
    this.#socket.destroySoon()
  }

  #counters() {
    return { task: this.#task, command: this.#command, status: this.#status }
  }

  async #logIn({ target, initiator, chap }: IscsiTarget): Promise<void> {
    const isid = Buffer.from([0x80, ...randomBytes(5)])
    let stage: Stage = stages.security
    const ask = async (keys: readonly (readonly [string, string])[], next: Stage | undefined) => {
      this.#socket.write(loginRequest(keys, { ...this.#counters(), isid, stage, next }))
      const { opcode, header, data } = await this.#next()
      if (opcode !== answers.login) throw new IscsiRefused(`it answered a login with ${opcode}`)
      const answer = parseLogin({ opcode, header, data })
      if (answer.status !== 0) throw new IscsiRefused(loginRefusal(answer.status))
      this.#status = answer.statusNumber + 1
      return answer
    }
    const names = [
      ['InitiatorName', initiator],
      ['TargetName', target],
      ['SessionType', 'Normal'],
      ['AuthMethod', chap ? 'CHAP,None' : 'None'],
    ] as const
    let answer = await ask(names, chap ? undefined : stages.operational)
    if (chap && answer.keys.get('AuthMethod') === 'CHAP') {
      answer = await ask([['CHAP_A', '5']], undefined)
      answer = await ask(chapKeys(answer.keys, chap), stages.operational)
    } else if (!answer.isLast) answer = await ask([], stages.operational)
    if (!answer.isLast) throw new IscsiRefused('it asks for more than the name of the initiator')
    if (answer.next === stages.full) return
    stage = stages.operational
    answer = await ask(operationalKeys, stages.full)
    if (!answer.isLast) answer = await ask([], stages.full)
    if (!answer.isLast) throw new IscsiRefused('the login never came to its end')
  }

  async #read(lun: number, cdb: readonly number[], bytes: number): Promise<Buffer> {
    for (let tries = 1; ; tries += 1) {
      const read = await this.#readOnce(lun, cdb, bytes)
      if (read.isGood) return read.data
      if (tries === mostTries) throw new IscsiRefused(`LUN ${lun} answers with the status ${read.status}`)
    }
  }

  async #readOnce(lun: number, cdb: readonly number[], bytes: number) {
    this.#task += 1
    this.#socket.write(commandRequest(cdb, { ...this.#counters(), lun, bytes }))
    this.#command += 1
    const data = Buffer.alloc(bytes)
    let length = 0
    for (;;) {
      const { opcode, header, data: part } = await this.#next()
      if (opcode === answers.reject) throw new IscsiRefused(`it rejects a command on LUN ${lun}`)
      const hasStatus = opcode === answers.scsiResponse || (header.readUInt8(1) & 1) === 1
      if (opcode === answers.dataIn) {
        const at = header.readUInt32BE(40)
        if (at + part.length > bytes) throw new RangeError('More was sent than was asked for.')
        part.copy(data, at)
        length = Math.max(length, at + part.length)
      } else if (opcode !== answers.scsiResponse) continue // News, which change nothing here.
      if (!hasStatus) continue
      this.#status = header.readUInt32BE(24) + 1
      const status = header.readUInt8(3)
      return { isGood: status === 0, status, data: data.subarray(0, length) }
    }
  }

  async #next(): Promise<Answer> {
    const { value } = await this.#answers.next()
    if (value === undefined) throw new IscsiRefused('it closed the connection')
    return value
  }
}

async function* answersOf(socket: Socket): AsyncGenerator<Answer, undefined> {
  let received: Buffer = Buffer.alloc(0)
  for await (const chunk of socket) {
    // A socket without an encoding gives buffers.
    if (!(chunk instanceof Uint8Array)) continue
    received = Buffer.concat([received, chunk])
    for (let taken = takeAnswer(received); taken !== undefined; taken = takeAnswer(received)) {
      received = received.subarray(taken.bytes)
      yield taken.answer
    }
  }
  return undefined
}

const operationalKeys = [
  ['HeaderDigest', 'None'],
  ['DataDigest', 'None'],
  ['MaxConnections', '1'],
  ['InitialR2T', 'Yes'],
  ['ImmediateData', 'No'],
  ['MaxRecvDataSegmentLength', String(mostDataBytes)],
  ['MaxBurstLength', String(mostDataBytes)],
  ['FirstBurstLength', '65536'],
  ['DefaultTime2Wait', '2'],
  ['DefaultTime2Retain', '0'],
  ['MaxOutstandingR2T', '1'],
  ['DataPDUInOrder', 'Yes'],
  ['DataSequenceInOrder', 'Yes'],
  ['ErrorRecoveryLevel', '0'],
] as const

/** CHAP with MD5 (RFC 1994, RFC 7143 section 12.1.3). */
function chapKeys(
  asked: ReadonlyMap<string, string>,
  { user, secret }: NonNullable<IscsiTarget['chap']>,
): readonly (readonly [string, string])[] {
  const [id, challenge] = [asked.get('CHAP_I'), asked.get('CHAP_C')]
  if (asked.get('CHAP_A') !== '5' || id === undefined || challenge === undefined)
    throw new IscsiRefused('it asks for a CHAP other than with MD5')
  const digest = createHash('md5')
    .update(Buffer.from([Number(id) & 0xff]))
    .update(secret, 'utf8')
    .update(binaryOf(challenge))
    .digest('hex')
  return [
    ['CHAP_N', user],
    ['CHAP_R', `0x${digest}`],
  ]
}

/** Hexadecimal after 0x, base64 after 0b (RFC 7143, section 6.1). */
function binaryOf(text: string): Buffer {
  return Buffer.from(text.slice(2), /^0b/i.test(text) ? 'base64' : 'hex')
}

/** RFC 7143, 11.13.5. */
function loginRefusal(status: number): string {
  const known: Readonly<Record<number, string>> = {
    257: 'it has moved to another address for a while',
    258: 'it has moved to another address',
    513: 'it does not take the CHAP user and secret, or wants some',
    514: 'it is not for this initiator',
    515: 'there is no such target',
    516: 'the target was removed',
    518: 'it has as many connections as it takes',
    769: 'its service is not available',
    770: 'it has no resources left',
  }
  return known[status] ?? `it refuses the login (${status.toString(16).padStart(4, '0')})`
}

function bigEndian(value: number, bytes: number): readonly number[] {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUInt32BE(value, bytes - 4)
  return [...buffer]
}
