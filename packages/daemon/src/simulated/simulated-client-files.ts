/** Files of clients of a simulated daemon: bytes in memory, found by the number of their descriptor. */
import { KvasirError } from '@kvasir/contract'
import type { ClientFile, ClientFiles, Part, VolumeEnd } from '../ports/client-files.ts'
import type { SimulatedMachine } from './machine.ts'

/** What such a file holds. */
export interface SimulatedContents {
  bytes: Uint8Array
}

interface Contents {
  read(offset: number, lengthBytes: number): Uint8Array
  write(offset: number, bytes: Uint8Array): void
}

/** A file as a volume in memory reads and writes it. */
class SimulatedClientFile implements ClientFile, Contents {
  readonly #contents: SimulatedContents

  constructor(contents: SimulatedContents) {
    this.#contents = contents
  }

  get sizeBytes(): number {
    return this.#contents.bytes.length
  }

  async next(offset: number, end: number) {
    return {
      isZero: this.#contents.bytes.subarray(offset, end).every((byte) => byte === 0),
      lengthBytes: end - offset,
    }
  }

  async resize(sizeBytes: number): Promise<void> {
    const bytes = new Uint8Array(sizeBytes)
    bytes.set(this.#contents.bytes.subarray(0, sizeBytes))
    this.#contents.bytes = bytes
  }

  read(offset: number, lengthBytes: number): Uint8Array {
    return this.#contents.bytes.subarray(offset, offset + lengthBytes)
  }

  write(offset: number, bytes: Uint8Array): void {
    const grown = new Uint8Array(Math.max(this.sizeBytes, offset + bytes.length))
    grown.set(this.#contents.bytes)
    grown.set(bytes, offset)
    this.#contents.bytes = grown
  }

  put(_volume: VolumeEnd, _part: Part): Promise<void> {
    return Promise.reject(new TypeError('A simulated volume is served by nobody.'))
  }

  get(_volume: VolumeEnd, _parts: readonly Part[]): Promise<void> {
    return Promise.reject(new TypeError('A simulated volume is served by nobody.'))
  }

  close(): void {}
}

/** What a simulated file holds. */
export function contentsOf(file: ClientFile): Contents {
  if (file instanceof SimulatedClientFile) return file
  throw new TypeError('This is no file of a simulated client.')
}

/** Files by their descriptors, whoever asks over whatever connection. */
export function createSimulatedClientFiles(machine: Pick<SimulatedMachine, 'clientFiles'>): ClientFiles {
  return {
    async take(connection, { descriptor }) {
      const contents = machine.clientFiles.get(descriptor)
      if (connection !== undefined && contents) return new SimulatedClientFile(contents)
      throw new KvasirError(
        'unsupported',
        'That descriptor is another file, or none; send what is in it instead.',
      )
    },
  }
}
