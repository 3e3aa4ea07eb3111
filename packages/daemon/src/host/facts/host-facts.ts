/**
 * The host as it is: CPUs, memory, kernel, cgroups, the QEMU at hand, and which accelerator it can use. Looked at when asked; only
 * what a QEMU binary says of itself is kept, under the binary's identity.
 */
import { closeSync, existsSync, openSync, realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { hostname, totalmem } from 'node:os'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { CommandError, findCgroupRoot, readCpuSets, runCommand } from '@kvasir/linux'
import { decideAccelerator } from '../../model/accelerator.ts'
import { judgeGraphics } from '../../model/host/judge-graphics.ts'
import type { HostCpuSets } from '../../model/placement/host-cpus.ts'
import { vhostNetDevice } from '../../model/qemu/emulator-plan.ts'
import type { HostFacts, TuningOutcome } from '../../ports/host-facts.ts'
import type { HugepageDesk } from '../memory/hugepage-desk.ts'
import { findVirtiofsd } from '../qemu/share-helper.ts'
import { swtpmBinary } from '../qemu/tpm-helper.ts'
import { cgroupFacts } from './cgroup-facts.ts'
import { CpuOffers } from './cpu-offers.ts'
import { EmulatorBinary } from './emulator-binary.ts'
import { KvmFacts } from './kvm-facts.ts'
import { lookAtFolder } from './look-at-folder.ts'
import { MachineFacts } from './machine-facts.ts'
import { lockableBytes, thpMode } from './memory-facts.ts'
import { parseMemInfo, parseTscKhz } from './proc-files.ts'

export interface HostFactsOptions {
  readonly stateDir: string
  readonly bootId: string
  /** Where its sockets and its logs are, beside its state. */
  readonly runtimeDir?: string
  readonly logDir?: string
  /** The QEMU binary of the configuration (KVASIR_QEMU). */
  readonly qemu: string | undefined
  /** The cgroup of the daemon's VMs, below the root of cgroup v2. */
  readonly cgroupName: string
  readonly hugepages: HugepageDesk
  /** What came of the settings for the kernel; none when nothing is set. */
  readonly tuning?: () => readonly TuningOutcome[]
}

const LOOK_TIMEOUT_MS = 5_000

/** The facts about this host. */
export function createHostFacts(
  options: HostFactsOptions,
): HostFacts & { readonly isKvmPossible: () => Promise<boolean> } {
  const cache = join(options.stateDir, 'cache')
  const binary = new EmulatorBinary({ binary: options.qemu, cachePath: join(cache, 'qemu.json') })
  const kvm = new KvmFacts({
    bootId: options.bootId,
    cachePath: join(cache, 'kvm.json'),
    findBinary: () => binary.find(),
  })
  const cpuOffers = new CpuOffers({
    bootId: options.bootId,
    cachePath: (accelerator) => join(cache, `cpu-${accelerator}.json`),
    findBinary: () => binary.find(),
  })
  const machine = new MachineFacts()
  const memory = async () => parseMemInfo(await readFile('/proc/meminfo', 'utf8'))

  return {
    qemu: () => binary.capabilities(),
    isKvmPossible: () => kvm.isPossible(),
    chooseAccelerator: async (wanted) => decideAccelerator(wanted, await kvm.gather()),
    cpuOffer: (accelerator) => cpuOffers.find(accelerator),
    availableMemoryBytes: async () => (await memory()).availableBytes,
    totalMemoryBytes: async () => totalmem(),
    hugepages: async (pageBytes) => options.hugepages.read(pageBytes),
    lockableBytes,
    thpMode,
    firmware: async () => machine.firmware(),
    hasSwtpm: () => existsSync(swtpmBinary),
    virtiofsd: findVirtiofsd,
    hasVsock: () => opens('/dev/vhost-vsock'),
    hasVhostNet: () => opens(vhostNetDevice),
    tscKhz: async () =>
      existsSync('/sys/devices/system/cpu/cpu0/cpufreq')
        ? undefined
        : parseTscKhz(await readFile('/proc/cpuinfo', 'utf8')),
    noIoUring,
    graphics: () => graphics(binary, machine),
    checkBootFile: (path) => checkFile(path, { throughLinks: true }),
    lookAtFolder,
    ownFolders: () => ownFolders(options),
    checkMedium: (path) => checkFile(path, { throughLinks: false }),

    topology: () => machine.topology(),
    devices: async () => machine.devices(),
    cpuSets: () => cpuSets(options.cgroupName),
    memory: async () => machine.memory(),
    tuning: options.tuning ?? (() => []),

    async describe() {
      const [facts, cgroup, qemu] = await Promise.all([
        kvm.gather(),
        cgroupFacts(),
        describeQemu(binary, options.qemu),
      ])
      return {
        ...machine.describe(facts),
        hostname: hostname(),
        accelerator: decideAccelerator('auto', facts),
        qemu,
        cgroup,
        graphics: await graphics(binary, machine),
        vsock: opens('/dev/vhost-vsock'),
      }
    },
  }
}

/** A host without QEMU is described all the same. */
async function describeQemu(binary: EmulatorBinary, configured: string | undefined) {
  try {
    const { version, machines, accelerators, devices, binary: path } = await binary.capabilities()
    return {
      binary: path,
      version: version.join('.'),
      machines: [...machines],
      accelerators: [...accelerators],
      devices: [...devices],
    }
  } catch (error) {
    if (!(error instanceof KvasirError && error.code === 'emulator-missing')) throw error
    return { binary: configured ?? '', version: 'missing', machines: [], accelerators: [], devices: [] }
  }
}

async function graphics(binary: EmulatorBinary, machine: MachineFacts) {
  const { types } = await binary.capabilities().catch((error: unknown) => {
    if (error instanceof KvasirError && error.code === 'emulator-missing') return { types: [] }
    throw error
  })
  return judgeGraphics({ renderNodes: machine.renderNodes(), types, hasOpenGl: machine.hasOpenGl() })
}

async function cpuSets(cgroupName: string): Promise<HostCpuSets> {
  const root = await findCgroupRoot()
  return await readCpuSets(join(root ?? '/sys/fs/cgroup', cgroupName))
}

/** The path is a user's and may lie on a file system that hangs, so a child looks at it. */
async function checkFile(path: string, { throughLinks }: { readonly throughLinks: boolean }): Promise<void> {
  const refuse = (what: string, cause?: unknown) =>
    new KvasirError('file-not-found', `The file ${path} ${what}, so no VM gets it.`, {
      details: { path },
      cause,
    })
  const kind = await runCommand(
    ['stat', ...(throughLinks ? ['--dereference'] : []), '--format=%F', '--', path],
    {
      timeoutMs: LOOK_TIMEOUT_MS,
    },
  ).then(
    ({ stdout }) => stdout.trim(),
    (error: unknown) => {
      if (error instanceof CommandError && error.failure === 'timeout')
        throw refuse('could not be looked at in time', error)
      throw refuse('does not exist', error)
    },
  )
  if (kind === 'regular empty file') throw refuse('is empty')
  if (kind !== 'regular file') throw refuse(`is a ${kind} and not a regular file`)
}

/** What the kernel says of io_uring (Documentation/admin-guide/sysctl/kernel.rst); one without the file (before 6.6) has it. */
async function noIoUring(): Promise<string | undefined> {
  const text = await readFile('/proc/sys/kernel/io_uring_disabled', 'utf8').catch(() => '0')
  return text.trim() === '0' ? undefined : 'this host forbids it (kernel.io_uring_disabled)'
}

/** Under the names that the kernel has for them; one that is not there yet, under its own. */
function ownFolders({ stateDir, runtimeDir, logDir }: HostFactsOptions) {
  const folders = [
    [stateDir, 'where Kvasir keeps the state of VMs'],
    [runtimeDir, 'where Kvasir has its sockets'],
    [logDir, 'where Kvasir writes logs'],
  ] as const
  return folders.flatMap(([path, what]) =>
    path === undefined ? [] : [{ path: existsSync(path) ? realpathSync(path) : path, what }],
  )
}

function opens(device: string): boolean {
  try {
    closeSync(openSync(device, 'r+'))
    return true
  } catch {
    return false
  }
}
