/** The bytes of the volumes of a simulated machine: blocks by their number, zeros where there is none. */
import { type Duplex, duplexPair } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
import { pathSource, type VolumeSource } from '../model/storage/volume-source.ts'
import type { OpenVolume, VolumeAccess, VolumeServer } from '../ports/volume-access.ts'
import type { SimulatedMachine } from './machine.ts'
import { contentsOf } from './simulated-client-files.ts'

const blockBytes = 4096
const fillSteps = 4

/** What the real tools do, to volumes in memory. */
export function createSimulatedAccess(machine: SimulatedMachine): VolumeAccess {
  const idOf = (source: VolumeSource): string => {
    const { path } = pathSource(source)
    const isAt = ([id, { file }]: [string, { readonly file?: string | undefined }]) =>
      path.includes(id) || (file !== undefined && path.endsWith(`/${file}`))
    const [id] = [...machine.volumes].find(isAt) ?? []
    if (id === undefined) throw new KvasirError('file-not-found', `There is no file ${path}.`)
    return id
  }
  return {
    async check(source, { repair, signal }) {
      await machine.clock.sleep(machine.stepMs, signal)
      const id = idOf(source)
      const volume = machine.volumes.get(id)
      const { leaks = 0, corruptions = 0 } = volume?.damage ?? {}
      if (!repair) return { leaks, corruptions, errors: 0, leaksFixed: 0, corruptionsFixed: 0 }
      if (volume) machine.volumes.set(id, { ...volume, damage: undefined })
      return { leaks: 0, corruptions: 0, errors: 0, leaksFixed: leaks, corruptionsFixed: corruptions }
    },
    tableBehindEnd: async (source) => machine.volumes.get(idOf(source))?.damage?.behindEnd,
    async open([top], { signal }) {
      if (!top) throw new TypeError('An empty chain has nothing to open.')
      await machine.clock.sleep(machine.stepMs, signal)
      const id = idOf(top)
      const blocks = machine.contents.get(id) ?? new Map<number, Uint8Array>()
      machine.contents.set(id, blocks)
      const note = () => {
        const volume = machine.volumes.get(id)
        if (volume) machine.volumes.set(id, { ...volume, writtenAt: (volume.writtenAt ?? 0) + 1 })
      }
      return openBlocks(machine.volumes.get(id)?.capacityBytes ?? 0, { blocks, note })
    },
    async fill([into], [top], { onProgress, signal }) {
      if (!top || !into) throw new TypeError('An empty chain has nothing to copy.')
      const [to, from] = [idOf(into), idOf(top)]
      for (let step = 1; step <= fillSteps; step++) {
        await machine.clock.sleep(machine.stepMs, signal)
        signal.throwIfAborted()
        onProgress(step / fillSteps)
      }
      machine.contents.set(to, new Map(machine.contents.get(from)))
    },
    async serve(volumes, { signal }) {
      await machine.clock.sleep(machine.stepMs, signal)
      for (const { chain } of volumes) for (const source of chain) idOf(source)
      return greetingServer()
    },
  }
}

/** One that greets as a server of NBD does, and says no more. */
function greetingServer(): VolumeServer {
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const connections = new Set<Duplex>()
  return {
    async connect() {
      const [ours, theirs] = duplexPair()
      connections.add(ours).add(theirs)
      ours.resume()
      ours.write('NBDMAGICIHAVEOPT')
      return theirs
    },
    ended,
    async close() {
      for (const one of connections) one.destroy()
      resolve()
    },
  }
}

function openBlocks(
  sizeBytes: number,
  { blocks, note }: { readonly blocks: Map<number, Uint8Array>; readonly note: () => void },
): OpenVolume {
  const write = (offset: number, bytes: Uint8Array) => {
    note()
    for (let done = 0; done < bytes.length; ) {
      const [index, within] = [Math.floor((offset + done) / blockBytes), (offset + done) % blockBytes]
      const block = blocks.get(index) ?? new Uint8Array(blockBytes)
      const part = bytes.subarray(done, done + blockBytes - within)
      block.set(part, within)
      blocks.set(index, block)
      done += part.length
    }
  }
  const read = (offset: number, lengthBytes: number) => {
    const into = new Uint8Array(lengthBytes)
    for (let done = 0; done < lengthBytes; ) {
      const [index, within] = [Math.floor((offset + done) / blockBytes), (offset + done) % blockBytes]
      const part = blocks.get(index)?.subarray(within, within + lengthBytes - done)
      if (part) into.set(part, done)
      done += blockBytes - within
    }
    return into
  }
  return {
    sizeBytes,
    async extents(offset, lengthBytes) {
      const end = Math.min(sizeBytes, offset + lengthBytes)
      const isZeroAt = (at: number) => !blocks.has(Math.floor(at / blockBytes))
      let at = offset
      const isZero = isZeroAt(offset)
      // The first stored block says where zeros end; stored ones are looked at one by one.
      const stops = [...blocks.keys()].map((index) => index * blockBytes).filter((start) => start > offset)
      if (isZero) at = stops.reduce((least, start) => Math.min(least, start), end)
      else while (at < end && !isZeroAt(at)) at = (Math.floor(at / blockBytes) + 1) * blockBytes
      return [{ lengthBytes: Math.min(at, end) - offset, isZero }]
    },
    read: async (offset, lengthBytes) => read(offset, lengthBytes),
    write: async (offset, bytes) => write(offset, bytes),
    async zero(offset, lengthBytes) {
      note()
      for (const index of blocks.keys()) {
        const start = index * blockBytes
        if (start >= offset && start + blockBytes <= offset + lengthBytes) blocks.delete(index)
        else if (start < offset + lengthBytes && start + blockBytes > offset) {
          const [from, to] = [Math.max(start, offset), Math.min(start + blockBytes, offset + lengthBytes)]
          write(from, new Uint8Array(to - from))
        }
      }
    },
    async take(file, { offset, lengthBytes }) {
      write(offset, contentsOf(file).read(offset, lengthBytes))
    },
    async give(file, parts) {
      for (const { offset, lengthBytes } of parts) contentsOf(file).write(offset, read(offset, lengthBytes))
    },
    async flush() {},
    async close() {},
  }
}
