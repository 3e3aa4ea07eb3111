/** Cages for tests: a temporary runtime directory, a cgroup of its own, and everything gone afterwards. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CageOptions, type Cages, type LaunchRequest, openCages } from '../cage.ts'
import { readCappedLog } from '../capped-log.ts'
import { makeShare } from '../share.ts'

/** A uid without a passwd entry that no other suite uses. */
export const TEST_UID = 641_001

/** A VM's surroundings: its directory, its share, two read-only files, and a request to start from. */
export interface TestVm {
  readonly directory: string
  readonly share: string
  readonly request: Omit<LaunchRequest, 'binary' | 'args'>
  log(): Promise<string>
}

export interface TestCages extends AsyncDisposable {
  readonly options: CageOptions
  readonly cages: Cages
  readonly directory: string
  vm(name: string, uid?: number): Promise<TestVm>
}

/** Opens cages for one test. */
export async function openTestCages(): Promise<TestCages> {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-cage-'))
  const options = {
    runtimeDir: directory,
    cgroupName: `kvasir-test-${process.pid}-${randomBytes(3).toString('hex')}`,
    kvm: true,
  }
  const cages = await openCages(options)
  return {
    options,
    cages,
    directory,
    vm: (name, uid = TEST_UID) => makeVm(join(directory, 'vms', name), { name, uid }),
    [Symbol.asyncDispose]: async () => {
      for (const group of await cages.groups.list()) await cages.groups.remove(group, { timeoutMs: 5_000 })
      await cages.remove()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Waits until the condition holds. Throws with the sentence when it does not in time. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  options: { readonly timeoutMs: number; readonly otherwise: string },
): Promise<void> {
  const deadline = performance.now() + options.timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(options.otherwise)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The text of a file beside this folder. */
export function readFixture(path: string): Promise<string> {
  return readFile(join(import.meta.dirname, '..', path), 'utf8')
}

async function makeVm(directory: string, owner: { name: string; uid: number }): Promise<TestVm> {
  const share = join(directory, 'share')
  const kernel = join(directory, 'kernel')
  const output = join(directory, 'output.log')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await makeShare(share, { uid: owner.uid, gid: owner.uid })
  await writeFile(kernel, 'not a kernel\n', { mode: 0o644 })
  return {
    directory,
    share,
    request: {
      group: `vm-${owner.name}`,
      directory,
      uid: owner.uid,
      gid: owner.uid,
      descriptors: [],
      binds: [
        { source: share, place: '/run/vm', writable: true },
        { source: kernel, place: '/boot/kernel' },
      ],
      logs: { output, serial: join(directory, 'serial.log'), capBytes: 256 * 1024 },
      limits: { openFiles: 1024, processes: 128 },
      timeoutMs: 10_000,
    },
    log: async () => Buffer.from(await readCappedLog(output, 1024 * 1024)).toString('utf8'),
  }
}
