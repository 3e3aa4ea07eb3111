/**
 * A pool that is an iSCSI target: its LUNs are its volumes. They are found, never made: whoever runs the target makes, grows and removes
 * them, and one becomes a volume when it is imported. QEMU speaks to the target itself, so nothing of it is on this host.
 *
 * The target is asked in the daemon, over a socket with a deadline (host/iscsi); nothing here can block.
 */
import { isIP } from 'node:net'
import { formatBytes, KvasirError } from '@kvasir/contract'
import type { ProtocolSource } from '../../model/storage/volume-source.ts'
import type { IscsiSource } from '../../ports/pool-source.ts'
import type { Adoption, PoolBackend, PoolEntry, PoolSpace, VolumeKey } from '../../ports/pools.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { IscsiRefused, type Lun, listLuns } from '../iscsi/iscsi-session.ts'
import { networkTrouble, Reachable } from './reachable.ts'
import { resolveServer } from './resolve-server.ts'

export interface IscsiPoolOptions {
  readonly source: IscsiSource
  readonly secrets: SecretValues
  readonly onUnreachable: (reason: string) => void
  /** How long the target may take to answer. */
  readonly deadlineMs?: number
}

const defaultDeadlineMs = 5_000
/** How long QEMU waits for an answer before it connects anew, in seconds. */
const requestSeconds = 30

/** Opens the backend of a target; it is not asked anything yet. */
export function createIscsiPool(options: IscsiPoolOptions): PoolBackend {
  return new IscsiPool(options)
}

class IscsiPool implements PoolBackend {
  readonly type = 'iscsi'
  readonly path = undefined
  readonly place: string
  readonly directIo = true
  readonly isSizedByOthers = true
  readonly isGuarded = true
  readonly capabilities: PoolBackend['capabilities'] = {
    formats: ['raw'],
    linkedClones: false,
    independentClones: false,
    nativeSnapshots: false,
    shrink: false,
    importInPlace: true,
  }
  readonly #options: IscsiPoolOptions
  readonly #server: Reachable
  #address: string | undefined

  constructor(options: IscsiPoolOptions) {
    const { server, port, target } = options.source
    this.#options = options
    this.place = `${server}:${port} ${target}`
    this.#server = new Reachable({ ...options, place: this.place, troubleOf })
  }

  async claim(): Promise<void> {
    try {
      await this.#luns()
    } catch (error) {
      const reason = troubleOf(error)
      if (reason === undefined) throw error
      throw new KvasirError('pool-refused', `The target at ${this.place} is no pool: ${reason}.`, {
        cause: error,
      })
    }
  }

  async release(): Promise<void> {}

  async inspect(): Promise<PoolSpace> {
    this.#server.tryAgain()
    const luns = await this.#reachLuns()
    const capacityBytes = luns.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    return { capacityBytes, allocatedBytes: capacityBytes, availableBytes: 0, isFixed: true }
  }

  async list(): Promise<readonly PoolEntry[]> {
    const luns = await this.#reachLuns()
    return luns.map(({ lun, sizeBytes }) => ({
      file: fileOf(lun),
      volumeId: undefined,
      isVolume: true,
      sizeBytes,
    }))
  }

  source(volume: VolumeKey): ProtocolSource {
    const { server, port, target, initiator, user, secretId } = this.#options.source
    const lun = lunOf(volume)
    const address = this.#address ?? server
    return {
      kind: 'protocol',
      driver: 'iscsi',
      format: 'raw',
      options: {
        transport: 'tcp',
        portal: `${address.includes(':') ? `[${address}]` : address}:${port}`,
        target,
        lun,
        'initiator-name': initiator,
        timeout: requestSeconds,
        user,
      },
      ...(secretId === undefined
        ? {}
        : { secret: { option: 'password-secret', secretId, format: 'raw' as const } }),
      // A name that was not looked up yet is no address, and reaches nothing: whoever starts a VM asks the pool before.
      reach: isIP(address) === 0 ? [] : [{ address, firstPort: port }],
    }
  }

  async capacityBytes(volume: VolumeKey): Promise<number> {
    return (await this.#require(volume)).sizeBytes
  }

  async adopt(volume: VolumeKey & { readonly file: string }): Promise<Adoption> {
    if (volume.format !== 'raw')
      throw new KvasirError(
        'image-refused',
        `${volume.file} is a disk of its target, so it is raw and nothing else.`,
      )
    return { capacityBytes: (await this.#require(volume)).sizeBytes }
  }

  /** A LUN that was grown where it lies is taken as it is; nothing else is a change that can be made from here. */
  async resize(volume: VolumeKey, capacityBytes: number): Promise<void> {
    const { lun, sizeBytes } = await this.#require(volume)
    if (sizeBytes === capacityBytes) return
    throw this.#refused(
      `LUN ${lun} has ${formatBytes(sizeBytes)} and is resized where it was made; then give its volume that size here.`,
    )
  }

  async allocatedBytes(volume: VolumeKey): Promise<number | undefined> {
    const lun = lunOf(volume)
    return (await this.#reachLuns()).find((one) => one.lun === lun)?.sizeBytes
  }

  /** The LUN stays, with all that it holds: it is no volume any more. */
  async remove(): Promise<void> {}

  createEmpty(): Promise<void> {
    return Promise.reject(
      this.#refused('Its volumes are the LUNs of its target: make one there, and import it.'),
    )
  }

  createOverlay(): Promise<void> {
    return Promise.reject(this.#refused('What lies on another volume is a file, and it holds none.'))
  }

  createClone(): Promise<void> {
    return this.createEmpty()
  }

  createCopy(): Promise<void> {
    return this.createEmpty()
  }

  absorb(): Promise<void> {
    return this.createOverlay()
  }

  close(): void {}

  async #require(volume: VolumeKey): Promise<Lun> {
    const lun = lunOf(volume)
    const found = (await this.#reachLuns()).find((one) => one.lun === lun)
    if (found) return found
    throw new KvasirError('file-not-found', `The target at ${this.place} has no LUN ${lun}.`)
  }

  async #reachLuns(): Promise<readonly Lun[]> {
    return await this.#server.reach(() => this.#luns())
  }

  async #luns(): Promise<readonly Lun[]> {
    const { source, deadlineMs = defaultDeadlineMs } = this.#options
    this.#address = await resolveServer(source.server)
    const chap = await this.#chap()
    return await listLuns({ ...source, address: this.#address, chap }, AbortSignal.timeout(deadlineMs))
  }

  async #chap(): Promise<{ readonly user: string; readonly secret: string } | undefined> {
    const { user, secretId } = this.#options.source
    if (user === undefined || secretId === undefined) return undefined
    const secret = await this.#options.secrets.read(secretId)
    return { user, secret: Buffer.from(secret).toString('utf8') }
  }

  #refused(why: string): KvasirError {
    return new KvasirError('unsupported', `The pool at ${this.place} makes no volumes. ${why}`)
  }
}

function fileOf(lun: number): string {
  return `lun-${lun}`
}

/** The number of the LUN that a volume is. What has no file is a volume that was to be made here. */
function lunOf({ id, file }: VolumeKey): number {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  const [, number] = /^lun-(0|[1-9]\d{0,4})$/.exec(file ?? '') ?? []
  if (number === undefined)
    throw new KvasirError('unsupported', `${file ?? id} is no LUN; those are named as lun-1 is.`)
  return Number(number)
}

/** Why the target is not to be had, if it is not. */
function troubleOf(error: unknown): string | undefined {
  if (error instanceof KvasirError) return undefined
  if (error instanceof IscsiRefused) return error.message
  if (!(error instanceof Error)) return undefined
  return networkTrouble(error)
}
