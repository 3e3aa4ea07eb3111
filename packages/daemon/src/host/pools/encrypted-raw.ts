/**
 * Raw volumes that are encrypted, on a backend that has raw ones: LUKS around what the backend keeps. Its header lies first, so the
 * backend's volume is larger by that; it is made apart from the volume and copied there, which goes on files, devices and servers alike.
 *
 * What was never written reads as noise, so a copy writes its zeroes too. Not here: qcow2 (encrypted-qcow2.ts).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedToolRequest, JailedTools } from '../../ports/jailed-tools.ts'
import type {
  AbsorbedSources,
  Adoption,
  CopyWork,
  ForeignKey,
  PoolBackend,
  PoolEntry,
  PoolMoments,
  PoolSpace,
  VolumeKey,
  VolumePlan,
  WordsBefore,
} from '../../ports/pools.ts'
import { copyInto, inspectChain } from './copy-chain.ts'
import { hashOptions, isWrongSecret, runMeasured, wrongSecret } from './encrypted-qcow2.ts'
import { jailedChain, placeOf } from './jailed-chain.ts'

/** The header that QEMU writes: eight key slots of a key of 64 bytes in 4,000 stripes, from sector 8 on (crypto/block-luks.c). */
export const luksHeaderBytes = 4040 * 512

const infoTimeoutMs = 30_000
const headerTimeoutMs = 120_000

const info = z.object({ 'virtual-size': z.number() })

type Encryption = NonNullable<VolumeKey['encryption']>

/** A backend whose raw volumes can be encrypted too. */
export function withEncryptedRaw(backend: PoolBackend, jailed: JailedTools): PoolBackend {
  return new EncryptedRawPool(backend, jailed)
}

class EncryptedRawPool implements PoolBackend {
  readonly capabilities: PoolBackend['capabilities']
  readonly rest?: () => Promise<void>
  readonly flush?: (volume: VolumeKey) => Promise<void>
  readonly stamp?: (volume: VolumeKey) => Promise<string>
  readonly moments?: PoolMoments
  readonly requireUnlocked?: (volume: VolumeKey) => Promise<void>
  readonly peek?: NonNullable<PoolBackend['peek']>
  readonly newIsZero?: () => Promise<boolean>
  readonly peekMany?: NonNullable<PoolBackend['peekMany']>
  readonly giveBack?: NonNullable<PoolBackend['giveBack']>
  readonly flatten?: (volume: VolumeKey, work: CopyWork) => Promise<boolean>
  readonly sink?: NonNullable<PoolBackend['sink']>
  readonly nameBase?: NonNullable<PoolBackend['nameBase']>
  readonly #backend: PoolBackend
  readonly #jailed: JailedTools

  constructor(backend: PoolBackend, jailed: JailedTools) {
    this.#backend = backend
    this.#jailed = jailed
    this.capabilities = { ...backend.capabilities, encryption: true }
    if (backend.rest) this.rest = async () => await backend.rest?.()
    if (backend.moments) this.moments = backend.moments
    if (backend.requireUnlocked)
      this.requireUnlocked = async (volume) => await backend.requireUnlocked?.(volume)
    if (backend.nameBase) this.nameBase = async (...named) => await backend.nameBase?.(...named)
    if (backend.sink) this.sink = async (...sunk) => await backend.sink?.(...sunk)
    if (backend.flatten)
      this.flatten = async (volume, work) => (await backend.flatten?.(volume, work)) ?? false
    if (backend.flush) this.flush = async (volume) => await backend.flush?.(volume)
    if (backend.peek)
      this.peek = (file, lengthBytes) =>
        Promise.resolve(backend.peek?.(file, lengthBytes) ?? new Uint8Array())
    if (backend.peekMany)
      this.peekMany = async (...peeked) => (await backend.peekMany?.(...peeked)) ?? new Map()
    if (backend.newIsZero) this.newIsZero = async () => (await backend.newIsZero?.()) ?? false
    if (backend.giveBack) this.giveBack = async (...taken) => await backend.giveBack?.(...taken)
    if (backend.stamp) this.stamp = async (volume) => (await backend.stamp?.(volume)) ?? ''
  }

  get type() {
    return this.#backend.type
  }

  get path() {
    return this.#backend.path
  }

  get place() {
    return this.#backend.place
  }

  get directIo() {
    return this.#backend.directIo
  }

  get isLocal() {
    return this.#backend.isLocal ?? false
  }

  get isGuarded() {
    return this.#backend.isGuarded
  }

  async claim(options: { readonly force: boolean }): Promise<void> {
    await this.#backend.claim(options)
  }

  async release(): Promise<void> {
    await this.#backend.release()
  }

  async inspect(): Promise<PoolSpace> {
    return await this.#backend.inspect()
  }

  async list(): Promise<readonly PoolEntry[]> {
    return await this.#backend.list()
  }

  source(volume: VolumeKey): VolumeSource {
    return this.#backend.source(volume)
  }

  async createEmpty(volume: VolumeKey, plan: VolumePlan): Promise<void> {
    const encryption = ofRaw(volume)
    if (encryption === undefined) {
      await this.#backend.createEmpty(volume, plan)
      return
    }
    const capacityBytes = plan.capacityBytes + luksHeaderBytes
    await this.#backend.createEmpty(inTheClear(volume), { ...plan, capacityBytes })
    try {
      await this.#layHeader(volume, encryption)
    } catch (error) {
      await this.remove(volume).catch(() => {}) // What made it fail says more; recovery removes it by its row.
      throw error
    }
  }

  async createOverlay(volume: VolumeKey, base: VolumeSource, capacityBytes: number): Promise<void> {
    await this.#backend.createOverlay(volume, base, capacityBytes)
  }

  async createClone(volume: VolumeKey, origin: VolumeKey): Promise<void> {
    await this.#backend.createClone(volume, origin)
  }

  async createCopy(volume: VolumeKey, chain: readonly VolumeSource[], work: CopyWork): Promise<void> {
    const encryption = ofRaw(volume)
    if (encryption === undefined) {
      await this.#backend.createCopy(volume, chain, work)
      return
    }
    work.signal.throwIfAborted()
    const jailed = this.#jailed
    const { capacityBytes } = await inspectChain(chain, { jailed, signal: work.signal })
    await this.createEmpty(volume, { capacityBytes })
    try {
      const target = { ...this.source(volume), encryption }
      const fileSizeBytes = capacityBytes + luksHeaderBytes
      await copyInto(target, chain, { ...work, jailed, isZero: false, fileSizeBytes })
    } catch (error) {
      await this.remove(volume).catch(() => {}) // As above.
      throw error
    }
  }

  async absorb(volume: VolumeKey, chain: AbsorbedSources, work: CopyWork): Promise<void> {
    await this.#backend.absorb(volume, chain, work)
  }

  async resize(volume: VolumeKey, capacityBytes: number): Promise<void> {
    if (ofRaw(volume) === undefined) {
      await this.#backend.resize(volume, capacityBytes)
      return
    }
    const plain = inTheClear(volume)
    const headerBytes = (await this.#backend.capacityBytes(plain)) - (await this.capacityBytes(volume))
    await this.#backend.resize(plain, capacityBytes + headerBytes)
  }

  /** The header says where what is encrypted begins; no passphrase is needed to know. */
  async capacityBytes(volume: VolumeKey): Promise<number> {
    if (ofRaw(volume) === undefined) return await this.#backend.capacityBytes(volume)
    await this.#backend.capacityBytes(inTheClear(volume)) // It is there, and its pool answers.
    const { request, file } = jailedChain([this.source(volume)], 'read')
    const opened = file.replace('json:{"driver":"raw"', 'json:{"driver":"luks"')
    const result = await this.#jailed.run(
      {
        tool: 'qemu-img',
        args: ['info', '--output=json', '-U', '--', opened],
        ...request,
        timeoutMs: infoTimeoutMs,
        fileSizeBytes: 0,
      },
      AbortSignal.timeout(infoTimeoutMs),
    )
    if (result.exitCode === 0) return info.parse(JSON.parse(result.stdout))['virtual-size']
    throw new KvasirError(
      'image-refused',
      `What is on ${placeOf([this.source(volume)])} is not encrypted as the store has it, so it is not used.`,
      { cause: new Error(`qemu-img ended with exit code ${result.exitCode}: ${result.stderr}`) },
    )
  }

  async adopt(volume: ForeignKey, note?: (before: WordsBefore) => void): Promise<Adoption> {
    if (ofRaw(volume) === undefined) return await this.#backend.adopt(volume, note)
    const { encryption: _, ...plain } = volume
    await this.#backend.adopt(plain, note)
    return { capacityBytes: await this.capacityBytes(volume) }
  }

  async remove(volume: VolumeKey): Promise<void> {
    await this.#backend.remove(volume)
  }

  async allocatedBytes(volume: VolumeKey): Promise<number | undefined> {
    return await this.#backend.allocatedBytes(volume)
  }

  close(): void {
    this.#backend.close()
  }

  async #layHeader(volume: VolumeKey, { secretId }: Encryption): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'kvasir-luks-'))
    try {
      const path = join(folder, 'header')
      await writeFile(path, '', { mode: 0o600 })
      await this.#run(volume, {
        args: [
          'create',
          '-q',
          '-f',
          'luks',
          '-o',
          `key-secret=secret0,${hashOptions('')}`,
          '--',
          '/out/0',
          '0',
        ],
        inputs: [],
        outputs: [path],
        secrets: [{ object: 'secret0', secretId, format: 'raw' }],
      })
      const from = jailedChain([{ path, format: 'raw' }], 'read')
      const to = jailedChain([this.source(volume)], 'write', from.request)
      await this.#run(volume, {
        args: ['convert', '-n', '-W', '-O', 'raw', '--', from.file, to.file],
        ...to.request,
      })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  async #run(
    volume: VolumeKey,
    request: Pick<JailedToolRequest, 'args' | 'inputs' | 'outputs' | 'devices' | 'reach' | 'secrets'>,
  ): Promise<void> {
    const signal = AbortSignal.timeout(headerTimeoutMs)
    const whole = {
      tool: 'qemu-img' as const,
      ...request,
      timeoutMs: headerTimeoutMs,
      fileSizeBytes: Number.MAX_SAFE_INTEGER,
    }
    const { exitCode, stderr } = await runMeasured(this.#jailed, whole, signal)
    if (exitCode === 0) return
    const place = placeOf([this.source(volume)])
    if (isWrongSecret(stderr)) throw wrongSecret(place, 'nothing was done with it')
    throw new KvasirError('host-failed', `qemu-img could not encrypt ${place}, so there is no such volume.`, {
      details: { stderr: stderr.slice(-500) },
      cause: new Error(`qemu-img ended with exit code ${exitCode}: ${stderr}`),
    })
  }
}

/** How a raw volume is encrypted, where it is one. */
function ofRaw({ format, encryption }: VolumeKey): Encryption | undefined {
  return format === 'raw' ? encryption : undefined
}

/** What the backend keeps. */
function inTheClear(volume: VolumeKey): VolumeKey {
  const { encryption: _, ...plain } = volume
  return plain
}
