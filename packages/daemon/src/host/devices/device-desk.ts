/**
 * Hands PCI functions of the host to VMs by VFIO, and takes them back for the drivers that had them.
 *
 * What a VM has is written down in a file of the device's name before the kernel is asked for anything, and the file goes when the device
 * is back. The file is made only where there is none, so two VMs never have one device, whoever asks; and whoever cleans up after a
 * VM, however it and its daemon ended, knows which driver had it. A boot of the host gives everything back, and a file of an earlier
 * boot says nothing. Emulators open the group of a device by a node of their own (host/qemu/host-device-files.ts). Facts: Documentation/ABI/testing/sysfs-bus-pci (driver_override), Documentation/driver-api/vfio.rst.
 */
import { mkdir, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { CommandError, runCommand } from '@kvasir/linux'
import { z } from 'zod'
import { type VfState, vfChanges } from '../../model/network/vf-settings.ts'
import type { VfPlan } from '../../model/qemu/emulator-plan.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { VfLender } from '../networks/sriov-network.ts'
import { placeOf, placeOfVf, putBack, readVf, setVf } from './virtual-functions.ts'

const addressPattern = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/
const vfioDriver = 'vfio-pci'
/** A driver that lets go of its device waits for what is under way on it. */
const writeTimeoutMs = 30_000
const moduleTimeoutMs = 20_000
/** How long the node of a group, or a driver that probes, may take to come. */
const appearMs = 10_000
const pauseMs = 20

const vfState = z.object({
  mac: z.string().optional(),
  vlan: z.number().optional(),
  vlanPriority: z.number().optional(),
  spoofCheck: z.boolean().optional(),
  trust: z.boolean().optional(),
  minRateMbits: z.number().optional(),
  maxRateMbits: z.number().optional(),
  link: z.enum(['auto', 'enable', 'disable']).optional(),
})

const note = z.object({
  bootId: z.string(),
  vm: z.string(),
  /** The driver that had it. */
  driver: z.string().optional(),
  /** What it was set to, where it is a virtual function that is a NIC. */
  vf: vfState.optional(),
})

type Note = z.output<typeof note>

/** A device that a VM has, and the group by which it is opened. */
export interface LentDevice {
  readonly address: string
  readonly group: string
  /** The numbers of the group's node. */
  readonly node: { readonly major: number; readonly minor: number }
}

export interface DeviceDeskOptions {
  /** Where it is written down who has what. */
  readonly directory: string
  readonly bootId: string
  readonly failpoint: Failpoints
  /** The root of /sys and /dev, which tests have of their own. */
  readonly root?: string
  /** How the kernel is told something, which tests hear; else a child writes it, since drivers may hang. */
  readonly tell?: (path: string, text: string) => Promise<void>
}

export class DeviceDesk implements VfLender {
  readonly #options: DeviceDeskOptions
  readonly #pci: string
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: DeviceDeskOptions) {
    this.#options = options
    this.#pci = join(options.root ?? '/', 'sys/bus/pci')
  }

  /** Whether this host has an IOMMU that is on, without which it gives no device away. */
  async hasGroups(): Promise<boolean> {
    const groups = join(this.#options.root ?? '/', 'sys/kernel/iommu_groups')
    return (await readdir(groups).catch(() => [])).length > 0
  }

  /** Gives devices to a VM. Throws `in-use` or `host-failed`; what was lent until then stays lent. */
  async lend(
    vm: { readonly id: string; readonly name: string },
    addresses: readonly string[],
    vfs: readonly VfPlan[] = [],
  ): Promise<readonly LentDevice[]> {
    if (addresses.length === 0) return []
    const lent: LentDevice[] = []
    await this.#inTurn(async () => {
      await mkdir(this.#options.directory, { recursive: true, mode: 0o700 })
      await this.#requireVfio()
      for (const address of addresses) {
        const settings = vfs.find((vf) => vf.address === address)?.settings
        await this.#writeDown(vm, address, settings !== undefined)
        await this.#options.failpoint('device.lend.after-note')
        await this.#hand(address, vfioDriver)
        if (settings) await setVf(await placeOf(address), settings, `VM ${vm.name} does not get it`)
        await this.#options.failpoint('device.lend.after-driver')
      }
      for (const address of addresses) lent.push({ address, ...(await this.#groupOf(address)) })
    })
    return lent
  }

  /** Takes back what a VM had that no longer runs, or one device that it has let go of. Safe to repeat. Throws `host-failed`. */
  async giveBack(vmId: string, one?: string): Promise<void> {
    const { failpoint } = this.#options
    const own = (await this.lent()).filter(({ vm, address }) => vm === vmId && (one ?? address) === address)
    if (own.length === 0) return
    await this.#inTurn(async () => {
      for (const { address, driver, bootId, vf } of own) {
        await failpoint('device.return.before-driver')
        if (bootId === this.#options.bootId) await this.#takeBack(address, { driver, vf })
        await failpoint('device.return.after-driver')
        await rm(this.#notePath(address), { force: true })
        await failpoint('device.return.after-note')
      }
    })
  }

  async vfAmiss(vmId: string, address: string, wanted: VfState): Promise<readonly string[] | undefined> {
    if ((await this.#read(address))?.vm !== vmId) return (await this.#exists(address)) ? [] : undefined
    const place = await placeOfVf(address)
    return place && vfChanges(await readVf(place), wanted).map(({ what }) => what)
  }

  async setLentVf(vmId: string, address: string, wanted: VfState): Promise<void> {
    await this.#inTurn(async () => {
      if ((await this.#read(address))?.vm !== vmId) return
      await setVf(await placeOf(address), wanted, 'it stays as it is')
    })
  }

  /** All that is written down, with the ids of the VMs. */
  async lent(): Promise<readonly (Note & { readonly address: string })[]> {
    const names = await readdir(this.#options.directory).catch(() => [])
    const addresses = names.filter((name) => addressPattern.test(name))
    const notes = addresses.map(async (address) => {
      const found = await this.#read(address)
      return found === undefined ? [] : [{ ...found, address }]
    })
    return (await Promise.all(notes)).flat()
  }

  async #requireVfio(): Promise<void> {
    const isThere = async () =>
      (await stat(join(this.#pci, 'drivers', vfioDriver)).catch(() => undefined)) !== undefined
    if (await isThere()) return
    const why = await runCommand(['modprobe', vfioDriver], { timeoutMs: moduleTimeoutMs }).then(
      () => '',
      (error: unknown) => (error instanceof CommandError ? error.stderr.trim() : String(error)),
    )
    if (await isThere()) return
    throw new KvasirError(
      'host-failed',
      `The kernel has no driver ${vfioDriver}${why === '' ? '' : ` (${why})`}, so no device can be given to a VM.`,
    )
  }

  async #writeDown(
    vm: { readonly id: string; readonly name: string },
    address: string,
    isVf: boolean,
  ): Promise<void> {
    const driver = await this.#driverOf(address)
    if (!(await this.#exists(address)))
      throw new KvasirError('host-failed', `The device ${address} is gone, so VM ${vm.name} cannot have it.`)
    const value: Note = {
      bootId: this.#options.bootId,
      vm: vm.id,
      ...(driver === undefined ? {} : { driver }),
      ...(isVf ? { vf: await readVf(await placeOf(address)) } : {}),
    }
    const path = this.#notePath(address)
    const known = await this.#read(address)
    if (known?.bootId === this.#options.bootId) {
      if (known.vm === vm.id) return // Of a start that did not come to its end: which driver had it is known already.
      throw new KvasirError(
        'in-use',
        `Another VM has the device ${address}, so VM ${vm.name} cannot have it.`,
      )
    }
    await rm(path, { force: true })
    await writeFile(path, JSON.stringify(value), { mode: 0o600, flag: 'wx' })
  }

  /** The group of a device that vfio-pci has, once its node is there. */
  async #groupOf(address: string): Promise<Pick<LentDevice, 'group' | 'node'>> {
    const group = basename(await readlink(join(this.#pci, 'devices', address, 'iommu_group')).catch(() => ''))
    const path = join(this.#options.root ?? '/', 'dev/vfio', group)
    const isThere = async () => (await stat(path).catch(() => undefined)) !== undefined
    if (group === '' || !(await eventually(isThere)))
      throw new KvasirError(
        'host-failed',
        `The kernel offers no group for the device ${address} (${path}), so it cannot be given to a VM.`,
      )
    return { group, node: numbersOf(await stat(path)) }
  }

  /** A device that somebody takes from the host may go while it is given back. */
  async #takeBack(address: string, { driver, vf }: Pick<Note, 'driver' | 'vf'>): Promise<void> {
    try {
      if (vf) await putBack(address, vf)
      if (driver !== vfioDriver && (await this.#exists(address))) await this.#hand(address, driver)
    } catch (error) {
      if (!(await eventually(async () => !(await this.#exists(address)), 1_000))) throw error
    }
  }

  /** Lets the driver have the device, and no other; without one, nobody has it. */
  async #hand(address: string, driver: string | undefined): Promise<void> {
    const folder = join(this.#pci, 'devices', address)
    await this.#write(join(folder, 'driver_override'), driver === vfioDriver ? vfioDriver : '\n')
    const now = await this.#driverOf(address)
    if (now === driver) return
    if (now !== undefined) await this.#write(join(folder, 'driver/unbind'), address)
    if (driver === undefined) return
    await this.#write(join(this.#pci, 'drivers_probe'), address)
    const hasIt = async () => (await this.#driverOf(address)) === driver
    if (await eventually(hasIt, 1_000)) return
    // Another driver that fits may have been first.
    const wrong = await this.#driverOf(address)
    if (wrong !== undefined) await this.#write(join(folder, 'driver/unbind'), address)
    await this.#write(join(this.#pci, 'drivers', driver, 'bind'), address)
    if (await eventually(hasIt)) return
    throw new KvasirError(
      'host-failed',
      `The driver ${driver} does not take the device ${address}; it has ${(await this.#driverOf(address)) ?? 'no driver'}.`,
    )
  }

  async #write(path: string, text: string): Promise<void> {
    const { tell } = this.#options
    try {
      if (tell) return await tell(path, text)
      await runCommand(['/bin/sh', '-c', 'printf %s "$1" >"$2"', 'kvasir-device', text, path], {
        timeoutMs: writeTimeoutMs,
      })
    } catch (cause) {
      const why = cause instanceof CommandError ? cause.stderr.trim() || cause.failure : String(cause)
      throw new KvasirError(
        'host-failed',
        `The kernel did not take ${JSON.stringify(text.trim())} in ${path}: ${why}.`,
        {
          cause,
        },
      )
    }
  }

  async #exists(address: string): Promise<boolean> {
    return (await stat(join(this.#pci, 'devices', address)).catch(() => undefined)) !== undefined
  }

  async #driverOf(address: string): Promise<string | undefined> {
    const target = await readlink(join(this.#pci, 'devices', address, 'driver')).catch(() => undefined)
    return target === undefined ? undefined : basename(target)
  }

  #notePath(address: string): string {
    return join(this.#options.directory, address)
  }

  async #read(address: string): Promise<Note | undefined> {
    const text = await readFile(this.#notePath(address), 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    try {
      return note.parse(JSON.parse(text))
    } catch {
      return undefined
    }
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    await mine
  }
}

/** As glibc splits the number of a device (sys/sysmacros.h). */
function numbersOf({ rdev }: { readonly rdev: number }): LentDevice['node'] {
  return { major: (rdev >>> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) }
}

async function eventually(isSo: () => Promise<boolean>, withinMs = appearMs): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (!(await isSo())) {
    if (performance.now() > deadline) return false
    await sleep(pauseMs)
  }
  return true
}
