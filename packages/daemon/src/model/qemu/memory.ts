/**
 * Guest memory as one explicit backend (design decision 1).
 *
 * private: anonymous memory, which KSM can merge and which gets transparent huge pages. shared: a memfd, for when another process
 * must map it; it costs both. A file on a huge-page tmpfs of ours takes the memfd's place once a device needs it.
 */
import { bootMemoryBytes } from '../memory/plug-memory.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption } from './options.ts'

/** The id of the backend; a saved VM's memory is found by it. */
export const memoryBackendId = 'memory'

/** The arguments for the memory. */
export function memoryArgs(input: HardwareInput): readonly string[] {
  const { sharing } = input.spec.memory
  const { plugMemory } = input.hardware
  const size = bootMemoryBytes(input.spec, plugMemory)
  const backend =
    sharing === 'private'
      ? { 'qom-type': 'memory-backend-ram', id: memoryBackendId, size, share: false, merge: true }
      : { 'qom-type': 'memory-backend-memfd', id: memoryBackendId, size, share: true, merge: false }
  return [
    ...jsonOption('-object', { ...backend, dump: false, prealloc: false }),
    '-m',
    `size=${size / 2 ** 20}M${plugMemory === undefined ? '' : `,maxmem=${(size + plugMemory.regionBytes) / 2 ** 20}M`}`,
    '-overcommit',
    'mem-lock=off,cpu-pm=off',
  ]
}
