/** The state directory of a simulated machine: paths are real-looking names of nothing. */
import { KvasirError } from '@kvasir/contract'
import type { StateFiles } from '../ports/files.ts'
import type { SimulatedMachine } from './machine.ts'

const root = '/simulated'

/** Its files. */
export function createSimulatedFiles(machine: SimulatedMachine): StateFiles {
  return {
    savePath: (vmId) => `${root}/saves/${requireId(vmId)}.memory`,
    partialSavePath: (vmId) => `${root}/saves/${requireId(vmId)}.memory.partial`,
    ...seedFiles(machine),
    ...memoryFiles(machine),
    ...nvramFiles(machine),
    ...tpmFiles(machine),
    ...notesFiles(machine),
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

function memoryFiles(machine: SimulatedMachine) {
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
  } satisfies Partial<StateFiles>
}

function nvramFiles({ nvrams }: SimulatedMachine) {
  return {
    nvramPath: (id) => `${root}/nvram/${requireId(id)}.fd`,
    async ensureNvram(id) {
      if (!nvrams.has(requireId(id))) nvrams.set(id, Buffer.from('as delivered'))
    },
    async copyNvram(fromId, toId) {
      const content = nvrams.get(fromId)
      if (!content) throw new KvasirError('host-failed', `There are no UEFI variables ${fromId}.`)
      nvrams.set(requireId(toId), content)
    },
    async removeNvram(id) {
      nvrams.delete(id)
    },
    listNvrams: async () => [...nvrams.keys()],
  } satisfies Partial<StateFiles>
}

function notesFiles({ notes }: SimulatedMachine) {
  return {
    notesPath: (id) => `${root}/notes/${requireId(id)}.notes`,
    async makeNotes(id) {
      notes.set(requireId(id), [])
    },
    async removeNotes(id) {
      notes.delete(id)
    },
    listNotes: async () => [...notes.keys()],
  } satisfies Partial<StateFiles>
}

function tpmFiles({ tpms }: SimulatedMachine) {
  return {
    tpmDirectory: (vmId) => `${root}/tpm/${requireId(vmId)}`,
    async ensureTpm(vmId) {
      tpms.add(requireId(vmId))
    },
    async removeTpm(vmId) {
      tpms.delete(vmId)
    },
    listTpms: async () => [...tpms],
  } satisfies Partial<StateFiles>
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
  } satisfies Partial<StateFiles>
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
