/**
 * The kernel modules of the tiny guest: drivers of what Kvasir's VMs have, with all they depend on, a modules.dep, and a modules.alias of
 * file systems, which the kernel asks for by their names when they are mounted.
 *
 * Not here: the order and the dependencies (model/images/kernel-modules.ts).
 */
import { readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { CpioEntry } from '../../model/images/cpio.ts'
import {
  moduleLoadOrder,
  moduleName,
  readFileSystemAliases,
  readModuleDepends,
  writeModulesAlias,
  writeModulesDep,
} from '../../model/images/kernel-modules.ts'
import { decompressModule } from './decompress-module.ts'
import { busyboxOf } from './tiny-programs.ts'

/** Loaded at boot, the console's and the disks' first. */
const loadedModules = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_console',
  'virtio_blk',
  'virtio_net',
  'virtio_scsi',
  'sd_mod',
  'virtio_rng',
  'virtio_balloon',
  'vmw_vsock_virtio_transport',
  'pvpanic_pci',
  'pvpanic_mmio',
  'button',
  'evdev',
]

/** There for whoever calls modprobe. */
const offeredModules = [
  'virtio_mem',
  'virtio_pmem',
  'virtiofs',
  'isofs',
  'sr_mod',
  'i6300esb',
  'virtio_input',
  'dm_mod',
  'tcp_diag',
  '8021q',
  'efivarfs',
]

/** Where the unpacked kernel package is, and the release of its kernel. */
export interface UnpackedKernel {
  readonly root: string
  readonly release: string
}

/** Gives the entries of the modules, of modules.dep, and of the list that the guest loads at boot (etc/modules). */
export async function kernelModuleEntries(
  kernel: UnpackedKernel,
  signal: AbortSignal,
): Promise<readonly CpioEntry[]> {
  const directory = join(await libDirectory(kernel.root), 'modules', kernel.release)
  const modules = new Map<string, string>()
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && /\.ko(\.|$)/.test(entry.name)) {
      modules.set(moduleName(entry.name), join(entry.parentPath, entry.name))
    }
  }

  const contents = await readNeeded(modules, { busybox: busyboxOf(kernel.root), cwd: kernel.root, signal })
  const dependsOf = (name: string): readonly string[] | undefined => contents.get(name)?.depends
  const chosen = moduleLoadOrder([...loadedModules, ...offeredModules], dependsOf)
  const aliases = new Map(chosen.map((name) => [name, contents.get(name)?.fileSystems ?? []] as const))
  const base = `lib/modules/${kernel.release}`
  const files = new Map(
    chosen.map((name) => {
      const path = relative(directory, modules.get(name) ?? '').replace(/\.(xz|gz|zst)$/, '')
      return [name, path] as const
    }),
  )
  return [
    ...chosen.map(
      (name): CpioEntry => ({
        kind: 'file',
        path: `${base}/${files.get(name) ?? ''}`,
        mode: 0o644,
        content: contents.get(name)?.bytes ?? Buffer.alloc(0),
      }),
    ),
    textFile(`${base}/modules.dep`, writeModulesDep(files, dependsOf)),
    textFile(`${base}/modules.alias`, writeModulesAlias(aliases)),
    textFile('etc/modules', `${loadedModules.filter((name) => files.has(name)).join('\n')}\n`),
  ]
}

interface ReadModule {
  readonly bytes: Uint8Array
  readonly depends: readonly string[]
  /** See `readFileSystemAliases`. */
  readonly fileSystems: readonly string[]
}

async function readNeeded(
  modules: ReadonlyMap<string, string>,
  tools: { readonly busybox: string; readonly cwd: string; readonly signal: AbortSignal },
): Promise<ReadonlyMap<string, ReadModule>> {
  const read = new Map<string, ReadModule>()
  const waiting = [...loadedModules, ...offeredModules].map(moduleName)
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const path = modules.get(name)
    if (path === undefined || read.has(name)) continue
    const bytes = await decompressModule(path, tools)
    const depends = readModuleDepends(bytes)
    read.set(name, { bytes, depends, fileSystems: readFileSystemAliases(bytes) })
    waiting.push(...depends)
  }
  return read
}

/** Debian 13 ships kernels below usr/lib, Debian 12 below lib. */
async function libDirectory(root: string): Promise<string> {
  const merged = join(root, 'usr/lib')
  return (await readdir(merged)).includes('modules') ? merged : join(root, 'lib')
}

function textFile(path: string, text: string): CpioEntry {
  return { kind: 'file', path, mode: 0o644, content: Buffer.from(text) }
}
