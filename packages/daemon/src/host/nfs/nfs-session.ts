/**
 * The folder that an NFS server exports, spoken to without a mount: version 3 over TCP (RFC 1813), as far as a pool needs it. Nothing of
 * the kernel, nothing that blocks; whoever opens a session says until when. QEMU reads and writes what is in the files, not this.
 */
import { long, opaque, word, type XdrReader } from '../../model/nfs/xdr.ts'
import { type RpcCall, RpcConnection, RpcRefused } from './rpc-connection.ts'

export interface NfsPlace {
  /** In figures. */
  readonly address: string
  readonly export: string
}

/** The ports that the programs of a server listen on. */
export interface NfsPorts {
  readonly mount: number
  readonly nfs: number
}

/** What a server says of a file. */
export interface NfsFile {
  readonly isRegular: boolean
  /** How many names it has: hard links. */
  readonly names: number
  readonly sizeBytes: number
  readonly usedBytes: number
  /** When it was last written, in words of the server's clock. */
  readonly written: string
}

/** A server refused a call, with a number of RFC 1813. */
export class NfsError extends Error {
  override readonly name = 'NfsError'
  readonly status: number

  constructor(status: number) {
    super(words.get(status) ?? `its server answered with error ${status}`)
    this.status = status
  }
}

/** Numbers of RFC 1813 (nfsstat3). */
export const nfsStatus = {
  noEntry: 2,
  io: 5,
  access: 13,
  exists: 17,
  tooLarge: 27,
  noSpace: 28,
  stale: 70,
  quota: 69,
} as const

const words = new Map<number, string>([
  [1, 'its server does not let this host’s root do that (exports(5): no_root_squash)'],
  [2, 'its server has no such file'],
  [5, 'its server has trouble with its disk'],
  [13, 'its server does not let this host’s root do that (exports(5): no_root_squash)'],
  [17, 'its server has a file of that name already'],
  [27, 'its server lets no file be so large'],
  [28, 'its server is full'],
  [30, 'its server exports it to be read only'],
  [69, 'its server gives no more room'],
  [70, 'its server does not know it any more'],
])

/** The port that portmappers listen on (RFC 1833), and what it gives for programs. */
export const portmapperPort = 111
const programs = { portmapper: 100_000, mount: 100_005, nfs: 100_003 } as const
const tcp = 6
const mostFiles = 100_000
const regular = 1

/** Opens the folder, does the work, and closes it. Throws `NfsError`, `RpcRefused`, and what the network or the signal says. */
export async function withExport<T>(
  place: NfsPlace,
  signal: AbortSignal,
  work: (session: NfsSession) => Promise<T>,
): Promise<T> {
  const { address } = place
  const ports = await askPorts(address, signal)
  const root = await withConnection({ address, port: ports.mount }, signal, (mount) => rootOf(mount, place))
  return await withConnection({ address, port: ports.nfs }, signal, (connection) =>
    work(new NfsSession(connection, { root, ports })),
  )
}

async function withConnection<T>(
  to: { readonly address: string; readonly port: number },
  signal: AbortSignal,
  work: (connection: RpcConnection) => Promise<T>,
): Promise<T> {
  const connection = await RpcConnection.open(to, signal)
  try {
    return await work(connection)
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    connection.close()
  }
}

async function askPorts(address: string, signal: AbortSignal): Promise<NfsPorts> {
  return await withConnection({ address, port: portmapperPort }, signal, async (connection) => {
    const ask = async (program: number) => {
      const args = [program, 3, tcp, 0].map(word)
      const port = (
        await connection.call({ program: programs.portmapper, version: 2, procedure: 3, args })
      ).word()
      if (port === 0 || port > 65_535) throw new RpcRefused('it serves no NFS of version 3 over TCP')
      return port
    }
    return { mount: await ask(programs.mount), nfs: await ask(programs.nfs) }
  })
}

async function rootOf(mount: RpcConnection, place: NfsPlace): Promise<Buffer> {
  const args = [opaque(place.export)]
  const answer = await mount.call({ program: programs.mount, version: 3, procedure: 1, args })
  const status = answer.word()
  if (status === nfsStatus.noEntry) throw new RpcRefused(`it does not export ${place.export}`)
  if (status === nfsStatus.access) throw new RpcRefused(`it does not export ${place.export} to this host`)
  if (status !== 0) throw new NfsError(status)
  return answer.opaque()
}

/** An open folder. */
export class NfsSession {
  readonly ports: NfsPorts
  readonly #connection: RpcConnection
  readonly #root: Buffer

  constructor(
    connection: RpcConnection,
    { root, ports }: { readonly root: Buffer; readonly ports: NfsPorts },
  ) {
    this.#connection = connection
    this.#root = root
    this.ports = ports
  }

  /** All bytes, those that are free, and those that are free for us. */
  async space(): Promise<{ readonly total: number; readonly free: number; readonly available: number }> {
    const answer = await this.#call(18, [opaque(this.#root)])
    attributes(answer)
    return { total: answer.long(), free: answer.long(), available: answer.long() }
  }

  /** A file by its name. Throws `NfsError` when there is none. */
  async look(name: string): Promise<NfsFile> {
    return attributesOf(await this.#call(1, [opaque(await this.#handle(name))]))
  }

  async list(): Promise<readonly (NfsFile & { readonly name: string })[]> {
    const found: (NfsFile & { readonly name: string })[] = []
    let cookie: Buffer = Buffer.alloc(8)
    let verifier: Buffer = Buffer.alloc(8)
    for (let isEnd = false; !isEnd; ) {
      const args = [opaque(this.#root), cookie, verifier, word(65_536), word(1_048_576)]
      const answer = await this.#call(17, args)
      attributes(answer)
      verifier = answer.fixed(8)
      while (answer.word() !== 0) {
        answer.long()
        const name = answer.opaque().toString()
        cookie = answer.fixed(8)
        const file = attributes(answer)
        answer.optional(() => answer.opaque())
        if (name === '.' || name === '..') continue
        found.push({ name, ...(file ?? (await this.look(name))) })
      }
      if (found.length > mostFiles) throw new RpcRefused(`it has more than ${mostFiles} files there`)
      isEnd = answer.word() !== 0
    }
    return found
  }

  /** Makes a file that only root may open; it reads as zeroes. Throws `NfsError` when there is one. */
  async create(name: string, sizeBytes: number): Promise<void> {
    const guarded = 1
    await this.#call(8, [...this.#entry(name), word(guarded), settings({ mode: 0o600 })])
    try {
      await this.resize(name, sizeBytes)
    } catch (error) {
      await this.remove(name).catch(() => {}) // What made it fail says more.
      throw error
    }
  }

  async resize(name: string, sizeBytes: number): Promise<void> {
    const handle = await this.#handle(name)
    await this.#call(2, [opaque(handle), settings({ sizeBytes }), word(0)])
  }

  /** No error when there is none. */
  async remove(name: string): Promise<void> {
    try {
      await this.#call(12, this.#entry(name))
    } catch (error) {
      if (!(error instanceof NfsError) || error.status !== nfsStatus.noEntry) throw error
    }
  }

  /** Puts a text at the beginning of a file, onto the server's disk. */
  async write(name: string, text: string): Promise<void> {
    const bytes = Buffer.from(text)
    const fileSync = 2
    const args = [
      opaque(await this.#handle(name)),
      long(0),
      word(bytes.length),
      word(fileSync),
      opaque(bytes),
    ]
    await this.#call(7, args)
  }

  /** The beginning of a file; undefined when there is no file. */
  async read(name: string, mostBytes: number): Promise<Buffer | undefined> {
    try {
      const answer = await this.#call(6, [opaque(await this.#handle(name)), long(0), word(mostBytes)])
      attributes(answer)
      answer.word()
      answer.word()
      return answer.opaque()
    } catch (error) {
      if (error instanceof NfsError && error.status === nfsStatus.noEntry) return undefined
      throw error
    }
  }

  async #handle(name: string): Promise<Buffer> {
    return (await this.#call(3, this.#entry(name))).opaque()
  }

  #entry(name: string): readonly Buffer[] {
    return [opaque(this.#root), opaque(name)]
  }

  async #call(procedure: number, args: RpcCall['args']): Promise<XdrReader> {
    const answer = await this.#connection.call({ program: programs.nfs, version: 3, procedure, args })
    const status = answer.word()
    if (status !== 0) throw new NfsError(status)
    return answer
  }
}

/** sattr3: what is not given stays as it is. */
function settings({ mode, sizeBytes }: { readonly mode?: number; readonly sizeBytes?: number }): Buffer {
  const given = [word(1)]
  return Buffer.concat([
    ...(mode === undefined ? [word(0)] : [...given, word(mode)]),
    word(0), // The user,
    word(0), // the group,
    ...(sizeBytes === undefined ? [word(0)] : [...given, long(sizeBytes)]),
    word(0), // and the times.
    word(0),
  ])
}

function attributes(answer: XdrReader): NfsFile | undefined {
  return answer.optional(() => attributesOf(answer))
}

/** fattr3 */
function attributesOf(answer: XdrReader): NfsFile {
  const isRegular = answer.word() === regular
  answer.fixed(4)
  const names = answer.word()
  answer.fixed(8)
  const [sizeBytes, usedBytes] = [answer.long(), answer.long()]
  answer.fixed(32)
  const written = `${answer.word()}.${answer.word()}`
  answer.fixed(8)
  return { isRegular, names, sizeBytes, usedBytes, written }
}
