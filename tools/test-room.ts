/**
 * Where the files of a rung run: in a process each, or several together, with their temporary files in memory.
 *
 * Grouped files share a process (test-group.ts) and a TMPDIR of their own on /dev/shm where there is room, so that what a store
 * syncs costs no disk. What the tests leave there is named when the room is closed, and goes with it.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const memory = '/dev/shm'
const tmpfsType = 0x01021994
const neededBytes = 512 * 1024 * 1024

/** A place for test files. */
export interface TestRoom extends AsyncDisposable {
  /** How many files there is room for at once, where that is less than was wanted. */
  readonly mostAtOnce?: number
  /** The programs that run these test files. */
  programsOf(files: readonly string[]): Promise<string[]>
}

/** Opens a room with so many processes, or with one for each file and nothing in memory. */
export function openTestRoom(processes: number | undefined): TestRoom {
  if (processes === undefined)
    return { programsOf: async (files) => [...files], [Symbol.asyncDispose]: () => Promise.resolve() }
  const groups = mkdtempSync(join(cacheFolder(), 'tests-'))
  const former = process.env['TMPDIR']
  const scratch = hasMemory() ? mkdtempSync(join(memory, 'kvasir-unit-')) : undefined
  if (scratch !== undefined) process.env['TMPDIR'] = scratch // The test processes inherit it.
  return {
    programsOf: async (files) => writeGroups(files, { folder: groups, processes }),
    async [Symbol.asyncDispose]() {
      rmSync(groups, { recursive: true, force: true })
      if (former === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = former
      if (scratch === undefined) return
      const left = readdirSync(scratch)
      if (left.length > 0) console.log(`Tests left behind: ${left.join(', ')}`)
      rmSync(scratch, { recursive: true, force: true })
    },
  }
}

/** Inside the checkout, where imports of packages are found. */
function cacheFolder(): string {
  const folder = join(import.meta.dirname, '../.cache')
  mkdirSync(folder, { recursive: true })
  return folder
}

function hasMemory(): boolean {
  try {
    const { type, bavail, bsize } = statfsSync(memory)
    return type === tmpfsType && bavail * bsize >= neededBytes
  } catch {
    return false
  }
}

/** The programs of so many processes that share the files among them. */
function writeGroups(
  files: readonly string[],
  { folder, processes }: { folder: string; processes: number },
): string[] {
  const runner = JSON.stringify(join(import.meta.dirname, 'test-group.ts'))
  // Those that start programs wait for them; begun last, one would keep the others waiting.
  const startsPrograms = (file: string) => readFileSync(file, 'utf8').includes('node:child_process')
  const [late, early] = [files.filter((file) => !startsPrograms(file)), files.filter(startsPrograms)]
  const inOrder = [...early, ...late]
  return Array.from({ length: Math.min(processes, files.length) }, (_, group) => {
    const program = join(folder, `group-${group + 1}.ts`)
    writeFileSync(
      program,
      `import { runFreeFiles } from ${runner}\nawait runFreeFiles(${JSON.stringify(inOrder)}, import.meta.dirname)\n`,
    )
    return program
  })
}
