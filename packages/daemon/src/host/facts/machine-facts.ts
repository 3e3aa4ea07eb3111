/**
 * What the kernel shows of this machine in /sys and /proc, read when asked and kept for a moment: a page that shows it asks often,
 * and a machine of hundreds of CPUs takes part of a second to read.
 */
import { existsSync, realpathSync, statSync } from 'node:fs'
import { machine as machineName, userInfo } from 'node:os'
import { type Host, type HostTopology, KvasirError } from '@kvasir/contract'
import { type HostDevicesReading, readHostDevices } from '@kvasir/linux/device-reading'
import { readFirmwareDescriptors } from '@kvasir/linux/firmware-reading'
import { readHost, readMemory } from '@kvasir/linux/host-reading'
import { DirectoryTree } from '@kvasir/linux/host-tree'
import { type RenderReading, readRenderNodes } from '@kvasir/linux/render-reading'
import { readTopology } from '@kvasir/linux/topology'
import type { AcceleratorFacts } from '../../model/accelerator.ts'
import { type DescribedHost, describeHost } from '../../model/host/describe-host.ts'
import { describeFirmware } from '../../model/host/firmware.ts'

const keptMs = 1_000
/** What libepoxy, by which QEMU draws, looks for (its src/dispatch_common.c); either of the last two will do. */
const glLibraries = [['libEGL.so.1'], ['libOpenGL.so.0', 'libGL.so.1']] as const
const libraryFolders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib']
/** That of /etc is in no cage. */
const eglDrivers = ['/usr/share/glvnd/egl_vendor.d']

/** The facts of the machine that this process runs on. */
export class MachineFacts {
  readonly #tree = new DirectoryTree('/')
  #reading: { readonly untilMs: number; readonly answer: ReturnType<typeof readHost> } | undefined
  #memory: { readonly untilMs: number; readonly answer: Host['memory'] } | undefined
  #topology: { readonly untilMs: number; readonly answer: Promise<HostTopology> } | undefined

  /** CPUs, caches, nodes and PCI devices. Throws `host-failed` when the kernel shows no CPU. */
  topology(): Promise<HostTopology> {
    const now = performance.now()
    if (this.#topology === undefined || this.#topology.untilMs < now)
      this.#topology = { untilMs: now + keptMs, answer: this.#readTopology() }
    return this.#topology.answer
  }

  /** What the kernel's files say and what it means, with what was tried of KVM. Throws `host-failed` as `topology` does. */
  describe(kvm: AcceleratorFacts): DescribedHost {
    const now = performance.now()
    if (this.#reading === undefined || this.#reading.untilMs < now)
      this.#reading = { untilMs: now + keptMs, answer: readHost(this.#tree) }
    const { answer } = this.#reading
    if (answer === undefined) throw unknownHost()
    return describeHost(answer, {
      device: kvm.kvmDevice,
      probe: kvm.probe,
      user: userInfo().username,
      ...permissionsOf('/dev/kvm'),
    })
  }

  /** Images of firmware, of which what is a link is named by what it leads to. */
  firmware(): Host['firmware'] {
    const descriptors = readFirmwareDescriptors(this.#tree)
    return describeFirmware(descriptors, existsSync).map((image) => ({
      ...image,
      executable: image.installed ? realpathSync(image.executable) : image.executable,
    }))
  }

  renderNodes(): readonly RenderReading[] {
    return readRenderNodes(this.#tree)
  }

  /** Whether the libraries of OpenGL are there, and a description of a driver for them (libglvnd: src/EGL/icd_enumeration.md). */
  hasOpenGl(): boolean {
    const isThere = (name: string) => libraryFolders.some((folder) => existsSync(`${folder}/${name}`))
    const hasDriver = eglDrivers.some((folder) => this.#tree.list(folder, /\.json$/).length > 0)
    return hasDriver && glLibraries.every((names) => names.some(isThere))
  }

  /** Memory as the kernel's files say it now. */
  memory(): Host['memory'] {
    const now = performance.now()
    if (this.#memory === undefined || this.#memory.untilMs < now)
      this.#memory = { untilMs: now + keptMs, answer: readMemory(this.#tree, machineName()) }
    return this.#memory.answer
  }

  /** The devices as they are now: who asks is about to give one away, or has. */
  devices(): HostDevicesReading {
    return readHostDevices(this.#tree)
  }

  async #readTopology(): Promise<HostTopology> {
    const topology = await readTopology(this.#tree)
    if (topology === undefined) throw unknownHost()
    return topology
  }
}

function unknownHost(): KvasirError {
  return new KvasirError(
    'host-failed',
    'The kernel shows no CPU in /sys/devices/system/cpu, so nothing can be said of the host.',
  )
}

/** Mode and owner of a device, as `ls -ln` shows them. */
function permissionsOf(path: string): { readonly permissions?: string } {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) return {}
  return { permissions: `mode ${(found.mode & 0o777).toString(8)}, owner ${found.uid}:${found.gid}` }
}
