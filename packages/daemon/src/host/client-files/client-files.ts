/**
 * Takes files out of the processes of clients, by a process of its own for each (client-file.pl), which also moves the bytes: what hangs,
 * the client's file system or the volume, hangs that process, which is then killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'
import type { ClaimedFile, ClientFile, ClientFiles, Part, VolumeEnd } from '../../ports/client-files.ts'
import { NbdError } from '../nbd/nbd-client.ts'

const program = join(import.meta.dirname, 'client-file.pl')
const takeTimeoutMs = 10_000
/** A disk that is busy with others may take long for a part; one that hangs takes for ever. */
const orderTimeoutMs = 120_000
/** errno(3): ENOSPC, EFBIG, EDQUOT. */
const noSpace: ReadonlySet<number> = new Set([27, 28, 122])

/** Opens nothing yet. */
export function createClientFiles(): ClientFiles {
  return {
    async take(connection, file) {
      if (connection === undefined)
        throw unsupported('the connection does not come from a process of this host')
      const process = new FileProcess(connection, file)
      try {
        const [word, ...rest] = (await process.answer(takeTimeoutMs)).split(' ')
        if (word !== 'file') throw unsupported(rest.join(' '))
        return fileOf(process, Number(rest[0]))
      } catch (error) {
        process.close()
        throw error
      }
    },
  }
}

function fileOf(process: FileProcess, sizeBytes: number): ClientFile {
  let opened: VolumeEnd | undefined
  const move = async (order: 'put' | 'get', volume: VolumeEnd, parts: readonly Part[]) => {
    if (opened !== volume) await process.order(`volume ${volume.kind} ${volume.path}`)
    opened = volume
    await process.order(
      [order, ...parts.flatMap(({ offset, lengthBytes }) => [offset, lengthBytes])].join(' '),
    )
  }
  return {
    sizeBytes,
    async next(offset, end) {
      const [kind, until] = (await process.order(`next ${offset} ${end}`)).split(' ')
      return { isZero: kind === 'hole', lengthBytes: Number(until) - offset }
    },
    async resize(bytes) {
      await process.order(`size ${bytes}`)
    },
    put: (volume, part) => move('put', volume, [part]),
    get: (volume, parts) => move('get', volume, parts),
    close: () => process.close(),
  }
}

/** The process that holds a file, and does one order after another. */
class FileProcess {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(connection: number, { descriptor, device, inode, access }: ClaimedFile) {
    const claimed = `${device}:${inode}`
    this.#child = spawn(
      'perl',
      [program, process.arch, String(process.pid), String(descriptor), claimed, access],
      {
        cwd: '/',
        env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
        stdio: ['pipe', 'pipe', 'ignore', connection],
      },
    )
    this.#child.on('error', () => {}) // Its stdout ends, which says as much.
    this.#child.stdin?.on('error', () => {})
    const { stdout } = this.#child
    if (stdout === null) throw new TypeError('The process has no stdout.')
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  }

  /** The words after `ok`. */
  async order(line: string): Promise<string> {
    this.#child.stdin?.write(`${line}\n`)
    const [word, ...rest] = (await this.answer(orderTimeoutMs)).split(' ')
    if (word === 'ok') return rest.join(' ')
    const [where, errno, ...why] = rest
    if (where === 'volume') throw new NbdError(Number(errno), why.join(' '))
    throw fileError(Number(errno), why.join(' '))
  }

  async answer(timeoutMs: number): Promise<string> {
    const deadline = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      this.close()
      deadline.reject(
        new KvasirError(
          'deadline-exceeded',
          `The file or the volume did not answer within ${timeoutMs / 1000} s, so no more was copied.`,
        ),
      )
    }, timeoutMs)
    try {
      const { value, done } = await Promise.race([this.#lines.next(), deadline.promise])
      if (done !== true) return value
      throw new KvasirError('host-failed', 'The process that copies has ended, so no more was copied.')
    } finally {
      clearTimeout(timer)
    }
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}

function fileError(errno: number, why: string): KvasirError {
  if (noSpace.has(errno))
    return new KvasirError(
      'not-enough-space',
      `What the file lies on is full (${why}), so no more was copied.`,
    )
  return new KvasirError(
    'host-failed',
    `The file cannot be read or written on (${why}), so no more was copied.`,
  )
}

function unsupported(why: string): KvasirError {
  return new KvasirError(
    'unsupported',
    `The file was not taken from its process: ${why}; send what is in it instead.`,
  )
}
