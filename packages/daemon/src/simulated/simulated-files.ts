/** The default pool of a simulated machine: paths are real-looking names of nothing. */
import { KvasirError } from '@kvasir/contract'
import type { ChainLink, CopyOptions, PoolFiles } from '../ports/files.ts'
import type { SimulatedMachine } from './machine.ts'

const root = '/simulated'
const copySteps = 4
const newVolumeBytes = 200 * 1024

/** The pool's files. */
export function createSimulatedFiles(machine: SimulatedMachine): PoolFiles {
  const volumePath = (id: string) => `${root}/volumes/${requireId(id)}.qcow2`

  function add(id: string, capacityBytes: number, base: ChainLink | undefined): void {
    if (machine.volumes.has(id))
      throw new KvasirError('host-failed', `The file of volume ${id} exists, so it was not made.`)
    if (machine.freeBytes < newVolumeBytes)
      throw new KvasirError('not-enough-space', 'The pool is full, so the volume was not made.')
    machine.volumes.set(id, { capacityBytes, allocatedBytes: newVolumeBytes, basePath: base?.path })
  }

  function capacityOf({ path }: ChainLink): number {
    const volume = [...machine.volumes].find(([id]) => volumePath(id) === path)?.[1]
    const image = [...machine.images.values()].find(({ id }) => path.includes(id))
    const capacity = volume?.capacityBytes ?? image?.disk?.virtualSizeBytes
    if (capacity !== undefined) return capacity
    throw new KvasirError('file-not-found', `There is no file ${path}, so nothing can be based on it.`)
  }

  return {
    volumePath,
    savePath: (vmId) => `${root}/saves/${requireId(vmId)}.memory`,
    partialSavePath: (vmId) => `${root}/saves/${requireId(vmId)}.memory.partial`,
    async createEmpty(id, capacityBytes) {
      add(id, capacityBytes, undefined)
    },
    async createOverlay(id, base, capacityBytes) {
      add(id, Math.max(capacityOf(base), capacityBytes ?? 0), base)
    },
    async createCopy(id, source, { onProgress, signal }: CopyOptions) {
      const capacity = capacityOf(source)
      for (let step = 1; step <= copySteps; step++) {
        await machine.clock.sleep(machine.stepMs, signal)
        signal.throwIfAborted()
        onProgress(step / copySteps)
        signal.throwIfAborted()
      }
      add(id, capacity, undefined)
    },
    async removeVolume(id) {
      machine.volumes.delete(id)
    },
    allocatedBytes: async (id) => machine.volumes.get(id)?.allocatedBytes,
    listVolumes: async () => [...machine.volumes.keys()],
    ...seedFiles(machine),
    ...layerFiles(machine),
    async commitSave(vmId) {
      const whole = machine.saves.get(vmId)?.partial
      if (!whole)
        throw new KvasirError('host-failed', `VM ${vmId} has no partial save, so none was published.`)
      machine.saves.set(vmId, { partial: undefined, whole })
      return { sizeBytes: whole.length }
    },
    async removeSave(vmId) {
      machine.saves.delete(vmId)
    },
    listSaves: async () =>
      [...machine.saves].flatMap(([vmId, { partial, whole }]) => [
        ...(whole ? [{ vmId, partial: false }] : []),
        ...(partial ? [{ vmId, partial: true }] : []),
      ]),
    freeBytes: async () => machine.freeBytes,
    directIo: true,
  }
}

function layerFiles(machine: SimulatedMachine) {
  return {
    async keepMemory(vmId, snapshotId) {
      const whole = machine.saves.get(vmId)?.partial
      if (!whole) throw new KvasirError('host-failed', `VM ${vmId} has no partial save.`)
      machine.saves.delete(vmId)
      machine.memories.set(snapshotId, whole)
      return { sizeBytes: whole.length }
    },
    async lendMemory(snapshotId, vmId) {
      machine.saves.set(vmId, { partial: undefined, whole: machine.memories.get(snapshotId) })
    },
    async removeMemory(snapshotId) {
      machine.memories.delete(snapshotId)
    },
    listMemories: async () => [...machine.memories.keys()],
    async absorb(id, { backing, absorbed }, { onProgress, signal }) {
      const volume = machine.volumes.get(id)
      if (!volume) throw new KvasirError('file-not-found', `Volume ${id} has no file.`)
      await machine.clock.sleep(machine.stepMs, signal)
      signal.throwIfAborted()
      onProgress(1)
      machine.volumes.set(id, { ...volume, basePath: backing[absorbed]?.path })
    },
  } satisfies Partial<PoolFiles>
}

function seedFiles(machine: SimulatedMachine) {
  return {
    seedPath: (vmId) => `${root}/seeds/${requireId(vmId)}.iso`,
    async writeSeed(vmId, content) {
      machine.seeds.set(requireId(vmId), content)
    },
    async removeSeed(vmId) {
      machine.seeds.delete(vmId)
    },
    listSeeds: async () => [...machine.seeds.keys()],
  } satisfies Partial<PoolFiles>
}

/** The VM whose memory a path is for. */
export function vmIdOfSave(path: string): string {
  const id = /\/saves\/([^/]+)\.memory(?:\.partial)?$/.exec(path)?.[1]
  if (id === undefined) throw new TypeError(`${path} is not where memory is saved.`)
  return id
}

/** Ids are the daemon's own words; anything else must never become a path. */
function requireId(id: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9-]{0,127}$/.test(id)) return id
  throw new TypeError(`${JSON.stringify(id.slice(0, 80))} is not an id.`)
}
