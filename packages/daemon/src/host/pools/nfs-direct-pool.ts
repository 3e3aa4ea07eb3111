/**
 * A pool that is an export of an NFS server which is not mounted: QEMU's own client reads and writes the files, each a raw volume, and the
 * daemon makes and removes them over a socket with a deadline (host/nfs). The export bears a mark, a file with the pool's id.
 */
import { isIP } from 'node:net'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import type { ProtocolSource, VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { NfsSource } from '../../ports/pool-source.ts'
import type {
  Adoption,
  CopyWork,
  PoolBackend,
  PoolEntry,
  PoolSpace,
  VolumeKey,
  VolumePlan,
} from '../../ports/pools.ts'
import {
  NfsError,
  type NfsPorts,
  type NfsSession,
  nfsStatus,
  portmapperPort,
  withExport,
} from '../nfs/nfs-session.ts'
import { readBeginnings } from '../nfs/read-beginnings.ts'
import { copyInto, inspectChain } from './copy-chain.ts'
import { networkTrouble, Reachable } from './reachable.ts'
import { resolveServer } from './resolve-server.ts'
import { fileOf, ours } from './volume-file.ts'

export interface NfsDirectPoolOptions {
  /** The pool's id, which its mark says. */
  readonly id: string
  readonly source: NfsSource
  readonly jailed: JailedTools
  readonly onUnreachable: (reason: string) => void
  /** How long the server may take to answer. */
  readonly deadlineMs?: number
}

const defaultDeadlineMs = 5_000
const markFile = '.kvasir-pool'
const mostMarkBytes = 256

/** What a refusal of a server is called here. */
const refusalCodes: ReadonlyMap<number, ErrorCode> = new Map([
  [nfsStatus.noEntry, 'file-not-found'],
  [nfsStatus.noSpace, 'not-enough-space'],
  [nfsStatus.quota, 'not-enough-space'],
  [nfsStatus.tooLarge, 'unsupported'],
])

/** What a pool is not, in words: it is gone, or another's. */
class NotOurs extends Error {}

/** Opens the backend of an export; its server is not asked anything yet. */
export function createNfsDirectPool(options: NfsDirectPoolOptions): PoolBackend {
  return new NfsDirectPool(options)
}

class NfsDirectPool implements PoolBackend {
  readonly type = 'nfs'
  readonly path = undefined
  readonly place: string
  readonly directIo = true
  readonly isGuarded = true
  readonly capabilities: PoolBackend['capabilities'] = {
    formats: ['raw'],
    linkedClones: false,
    independentClones: false,
    nativeSnapshots: false,
    shrink: true,
    importInPlace: true,
  }
  readonly #options: NfsDirectPoolOptions
  readonly #server: Reachable
  #known: { readonly address: string; readonly ports: NfsPorts } | undefined

  constructor(options: NfsDirectPoolOptions) {
    const { server, export: path } = options.source
    this.#options = options
    this.place = `nfs://${server.includes(':') ? `[${server}]` : server}${path}`
    this.#server = new Reachable({ ...options, place: this.place, troubleOf })
  }

  async claim({ force }: { readonly force: boolean }): Promise<void> {
    const { id } = this.#options
    try {
      await this.#session(async (session) => {
        const mark = await readMark(session)
        if (mark === id) return
        if (mark !== undefined && !force)
          throw new NotOurs(`it is marked as the pool ${mark} already, of this daemon or another`)
        if (mark !== undefined) await session.remove(markFile)
        await session.create(markFile, 0)
        await session.write(markFile, `${id}\nThis folder is a storage pool of Kvasir.\n`)
      })
    } catch (cause) {
      const reason = troubleOf(cause) ?? (cause instanceof NfsError ? cause.message : undefined)
      if (reason === undefined) throw cause
      throw new KvasirError('pool-refused', `The export ${this.place} is not made a pool: ${reason}.`, {
        cause,
      })
    }
  }

  async release(): Promise<void> {
    await this.#reach(async (session) => {
      if ((await readMark(session)) === this.#options.id) await session.remove(markFile)
    })
  }

  async inspect(): Promise<PoolSpace> {
    this.#server.tryAgain()
    return await this.#ours(async (session) => {
      const { total, free, available } = await session.space()
      return { capacityBytes: total, allocatedBytes: total - free, availableBytes: available }
    })
  }

  async list(): Promise<readonly PoolEntry[]> {
    const files = await this.#ours((session) => session.list())
    return files
      .filter(({ name }) => name !== markFile)
      .map(({ name, isRegular, names, sizeBytes }) => ({
        file: name,
        volumeId: ours.exec(name)?.[1],
        isVolume: isRegular,
        names,
        sizeBytes,
      }))
  }

  /** QEMU asks the portmapper of the server for the ports of its programs, as the daemon did. */
  source(volume: VolumeKey): ProtocolSource {
    const { server, export: path } = this.#options.source
    const { address = server, ports } = this.#known ?? {}
    const known = isIP(address) === 0 || ports === undefined ? [] : [portmapperPort, ports.mount, ports.nfs]
    return {
      kind: 'protocol',
      driver: 'nfs',
      format: 'raw',
      // Who asks is root, as the daemon is: the files are root's.
      options: {
        server: { type: 'inet', host: address },
        path: `${path === '/' ? '' : path}/${fileOf(volume)}`,
        user: 0,
        group: 0,
      },
      reach: [...new Set(known)].map((firstPort) => ({ address, firstPort, fromReservedPort: true })),
    }
  }

  async createEmpty(volume: VolumeKey, { capacityBytes, preallocation }: VolumePlan): Promise<void> {
    if (preallocation === 'full')
      throw new KvasirError(
        'unsupported',
        `NFS of version 3 takes no space ahead, so ${this.place} does not.`,
      )
    const file = fileOf(volume)
    await this.#ours((session) => session.create(file, capacityBytes))
  }

  createOverlay(): Promise<void> {
    return Promise.reject(this.#rawOnly())
  }

  createClone(): Promise<void> {
    return Promise.reject(this.#rawOnly())
  }

  absorb(): Promise<void> {
    return Promise.reject(this.#rawOnly())
  }

  async createCopy(volume: VolumeKey, chain: readonly VolumeSource[], work: CopyWork): Promise<void> {
    work.signal.throwIfAborted()
    const { jailed } = this.#options
    const { capacityBytes } = await inspectChain(chain, { jailed, signal: work.signal })
    await this.createEmpty(volume, { capacityBytes })
    try {
      await copyInto(this.source(volume), chain, { ...work, jailed, isZero: true })
    } catch (error) {
      await this.remove(volume).catch(() => {}) // What made it fail says more; recovery removes it by its row.
      throw error
    }
  }

  async resize(volume: VolumeKey, capacityBytes: number): Promise<void> {
    const file = fileOf(volume)
    await this.#ours((session) => session.resize(file, capacityBytes))
  }

  async capacityBytes(volume: VolumeKey): Promise<number> {
    const file = fileOf(volume)
    const { isRegular, sizeBytes } = await this.#ours((session) => session.look(file))
    if (isRegular) return sizeBytes
    throw new KvasirError('image-refused', `${file} in ${this.place} is no regular file.`)
  }

  async adopt(volume: VolumeKey & { readonly file: string }): Promise<Adoption> {
    const refuse = (why: string) =>
      new KvasirError('image-refused', `The file ${volume.file} ${why}, so it is not imported.`)
    if (volume.format !== 'raw') throw refuse('is raw here, and is imported as raw or not at all')
    if (volume.file.includes('/')) throw refuse('lies in another folder')
    const capacityBytes = await this.capacityBytes(volume)
    if (capacityBytes === 0 || capacityBytes % 512 !== 0) throw refuse('is no whole number of sectors')
    return { capacityBytes }
  }

  async peekMany(files: readonly string[], lengthBytes: number): Promise<ReadonlyMap<string, Uint8Array>> {
    const withinMs = (this.#options.deadlineMs ?? defaultDeadlineMs) / 2
    return await this.#ours((session) => readBeginnings(session, files, { lengthBytes, withinMs }))
  }

  async remove(volume: VolumeKey): Promise<void> {
    const file = fileOf(volume)
    await this.#ours((session) => session.remove(file))
  }

  async allocatedBytes(volume: VolumeKey): Promise<number | undefined> {
    const file = fileOf(volume)
    try {
      return (await this.#ours((session) => session.look(file))).usedBytes
    } catch (error) {
      if (error instanceof KvasirError && error.code === 'file-not-found') return undefined
      throw error
    }
  }

  async stamp(volume: VolumeKey): Promise<string> {
    const file = fileOf(volume)
    const { sizeBytes, written } = await this.#ours((session) => session.look(file))
    return `${sizeBytes}.${written}`
  }

  close(): void {}

  /** Works with an export that bears the pool's mark. */
  async #ours<T>(work: (session: NfsSession) => Promise<T>): Promise<T> {
    return await this.#reach(async (session) => {
      const mark = await readMark(session)
      if (mark !== this.#options.id)
        throw new NotOurs(`it bears ${mark === undefined ? 'no mark' : 'the mark of another pool'}`)
      return await work(session)
    })
  }

  async #reach<T>(work: (session: NfsSession) => Promise<T>): Promise<T> {
    try {
      return await this.#server.reach(() => this.#session(work))
    } catch (error) {
      throw error instanceof NfsError ? this.#refusal(error) : error
    }
  }

  async #session<T>(work: (session: NfsSession) => Promise<T>): Promise<T> {
    const { source, deadlineMs = defaultDeadlineMs } = this.#options
    const address = await resolveServer(source.server)
    return await withExport(
      { address, export: source.export },
      AbortSignal.timeout(deadlineMs),
      (session) => {
        this.#known = { address, ports: session.ports }
        return work(session)
      },
    )
  }

  #refusal(error: NfsError): KvasirError {
    return new KvasirError(
      refusalCodes.get(error.status) ?? 'host-failed',
      `The pool at ${this.place} did not do that: ${error.message}.`,
      {
        cause: error,
      },
    )
  }

  #rawOnly(): KvasirError {
    return new KvasirError('unsupported', `The volumes of ${this.place} are raw, so none lies on another.`)
  }
}

/** The id in the mark; undefined where there is no mark. */
async function readMark(session: NfsSession): Promise<string | undefined> {
  const text = await session.read(markFile, mostMarkBytes)
  return text?.toString().split('\n')[0]
}

/** Why the export is not to be had, if it is not. What the server refuses for one file is not that. */
function troubleOf(error: unknown): string | undefined {
  const gone: readonly number[] = [nfsStatus.io, nfsStatus.stale]
  if (error instanceof NfsError) return gone.includes(error.status) ? error.message : undefined
  if (error instanceof KvasirError || !(error instanceof Error)) return undefined
  return networkTrouble(error)
}
