/**
 * The QEMU at hand: where its binary is, which version it is, what it offers. Asked of the binary itself, and again when its content
 * changes: answers are kept under its digest, which is taken anew when the file looks different.
 */
import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH, CommandError } from '@kvasir/linux'
import { z } from 'zod'
import type { QemuCapabilities } from '../../model/qemu/qemu-capabilities.ts'
import { isAtLeast, oldestQemu } from '../../model/qemu/version.ts'
import { askEmulator } from './ask-emulator.ts'
import { CachedAnswer } from './facts-cache.ts'

/** A binary that was found, and what tells it from another at the same path. */
export interface FoundBinary {
  readonly path: string
  readonly identity: string
}

export interface EmulatorBinaryOptions {
  /** The binary that was configured; else the one of the host's architecture on the usual paths. */
  readonly binary: string | undefined
  readonly cachePath: string
  /** Deadline of asking; 20 s unless told. */
  readonly timeoutMs?: number
}

const DEFAULT_TIMEOUT_MS = 20_000
const digestChunkBytes = 1024 * 1024

const capabilities = z.object({
  sha256: z.string(),
  version: z.tuple([z.int(), z.int(), z.int()]),
  machines: z.array(z.string()),
  accelerators: z.array(z.string()),
  devices: z.array(z.string()),
  chardevs: z.array(z.string()),
})

/** What a binary says of itself. */
export type EmulatorOffer = QemuCapabilities & {
  readonly accelerators: readonly string[]
  readonly devices: readonly string[]
}

type KnownBinary = z.output<typeof capabilities>

const versionReply = z.object({ qemu: z.object({ major: z.int(), minor: z.int(), micro: z.int() }) })
const machinesReply = z.array(z.object({ name: z.string(), alias: z.string().optional() }))
const typesReply = z.array(z.object({ name: z.string() })).catch([])

const emulatorNames: Readonly<Record<string, string>> = {
  x64: 'qemu-system-x86_64',
  arm64: 'qemu-system-aarch64',
}

/** The emulator binary of this host. */
export class EmulatorBinary {
  readonly #options: EmulatorBinaryOptions
  readonly #cache: CachedAnswer<KnownBinary>
  #asking: { readonly key: string; readonly answer: Promise<KnownBinary> } | undefined

  constructor(options: EmulatorBinaryOptions) {
    this.#options = options
    this.#cache = new CachedAnswer(options.cachePath, capabilities)
  }

  /** Finds the binary. Throws `emulator-missing`. */
  async find(): Promise<FoundBinary> {
    const { binary } = this.#options
    const name = emulatorNames[process.arch] ?? 'qemu-system-x86_64'
    const candidates =
      binary === undefined ? COMMAND_PATH.split(':').map((folder) => join(folder, name)) : [binary]
    for (const path of candidates) {
      const found = await stat(path).catch(() => undefined)
      if (found === undefined) continue
      const executable = found.isFile() && (await isExecutable(path))
      if (!executable) throw missing(`${path} is not a program that can be run`)
      return { path, identity: [path, found.size, found.mtimeMs, found.ino].join(':') }
    }
    throw missing(binary === undefined ? `there is no ${name} on this host` : `${binary} does not exist`)
  }

  /** Version, machines, accelerators and devices of the binary. Throws `emulator-missing` when there is none, it does not answer or is too old. */
  async capabilities(): Promise<EmulatorOffer & { readonly binary: string }> {
    const found = await this.find()
    const { sha256: _, ...known } = (await this.#cache.find(found.identity)) ?? (await this.#askOnce(found))
    if (!isAtLeast(known, oldestQemu))
      throw missing(
        `${found.path} is version ${known.version.join('.')}, and ${oldestQemu.join('.')} is the oldest that is supported`,
      )
    const { chardevs, ...offer } = known
    // One that does not list its types has told none.
    const types = offer.devices.length > 0 ? { types: [...offer.devices, ...chardevs] } : {}
    return { ...offer, ...types, binary: found.path }
  }

  #askOnce(found: FoundBinary): Promise<KnownBinary> {
    if (this.#asking?.key === found.identity) return this.#asking.answer
    const answer = this.#recallOrAsk(found).finally(() => {
      this.#asking = undefined
    })
    this.#asking = { key: found.identity, answer }
    return answer
  }

  async #recallOrAsk(found: FoundBinary): Promise<KnownBinary> {
    const sha256 = await digest(found.path).catch((cause: unknown) => {
      throw missing(`${found.path} cannot be read`, cause)
    })
    const last = await this.#cache.last()
    const known = last?.sha256 === sha256 ? last : { ...(await this.#ask(found)), sha256 }
    await this.#cache.keep(found.identity, known)
    return known
  }

  async #ask(found: FoundBinary): Promise<Omit<KnownBinary, 'sha256'>> {
    const answers = await askEmulator(
      found.path,
      ['version', 'machines', 'accelerators', 'devices', 'chardevs'],
      {
        args: ['-machine', 'none', '-accel', 'tcg'],
        timeoutMs: this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      },
    ).catch((cause: unknown) => {
      throw missing(`${found.path} did not answer when it was asked for its version`, cause)
    })
    const version = versionReply.safeParse(answers.get('version'))
    const machines = machinesReply.safeParse(answers.get('machines'))
    if (!version.success || !machines.success) throw missing(`${found.path} does not answer as a QEMU does`)
    const { major, minor, micro } = version.data.qemu
    return {
      version: [major, minor, micro] as [number, number, number],
      machines: machineNames(machines.data),
      accelerators: typeNames(answers.get('accelerators')).flatMap(
        (name) => /^(.+)-accel$/.exec(name)?.[1] ?? [],
      ),
      devices: typeNames(answers.get('devices')),
      chardevs: typeNames(answers.get('chardevs')),
    }
  }
}

/** Versioned names and the names of machines that have no versions; aliases such as `q35` are not what a VM is pinned to. */
function machineNames(machines: readonly { readonly name: string }[]): string[] {
  return machines.map((machine) => machine.name).sort()
}

/** The SHA-256 of a file, read in pieces so that others get their turns. */
async function digest(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: digestChunkBytes })) hash.update(chunk)
  return hash.digest('hex')
}

/** A QEMU that does not list its types has told none. */
function typeNames(reply: unknown): string[] {
  return typesReply
    .parse(reply)
    .map(({ name }) => name)
    .sort()
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

function missing(what: string, cause?: unknown): KvasirError {
  const stderr = cause instanceof CommandError ? { stderr: cause.stderr } : {}
  return new KvasirError(
    'emulator-missing',
    `QEMU cannot be used: ${what}, so no VM can be started. Install qemu-system-x86 or name another binary with KVASIR_QEMU.`,
    { cause, details: stderr },
  )
}
