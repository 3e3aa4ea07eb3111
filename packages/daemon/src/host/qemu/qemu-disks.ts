/**
 * The disks of one running QEMU over QMP: files as descriptors, block nodes, an I/O thread, the device; and back again.
 *
 * Everything has a name that follows from the disk's (model/qemu/ids.ts), so what an interrupted attempt left is found by asking QEMU:
 * plugging makes what is missing, removing removes what is there. The emulator's record lists the files before QEMU gets them and
 * until it has given them back, since its cage is judged by that.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type DiskThrottle, KvasirError } from '@kvasir/contract'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import type { BlockNode, DiskPlan, QemuOptions } from '../../model/qemu/disk-plan.ts'
import { deviceId, isOfDisk, isSecretObject } from '../../model/qemu/ids.ts'
import type { EmulatorDisks, MediumChange } from '../../ports/emulator-disks.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { isLockRefusal, lockErrorOf } from '../pools/lock-error.ts'
import { asDamage } from './damage-error.ts'
import { isLoaded, openTray, putMediumIn, takeMediumOut } from './drive-tray.ts'
import type { EmulatorConnector } from './emulator-connector.ts'
import { giveReach, takeReachBack } from './emulator-reach.ts'
import { addSecret, asRefusal, keyTimeoutMs } from './hand-secrets.ts'
import { removeLooseNodes } from './loose-nodes.ts'
import { passFile, requireOpenable, takeFileBack, takeFilesBack } from './pass-file.ts'
import { ioThreadOf, isSharedThread, withDisk, withoutDisk, withoutFiles } from './record-of-disks.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'
import { requireSoundFile } from './sound-tables.ts'
import { throttleDisks } from './throttle-disks.ts'

/** How long the controller of a disk that could not be plugged may take to go. */
const controllerTimeoutMs = 3_000
const lookMs = 50

export interface QemuDisksParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  /** What is written down about the emulator. */
  readonly record: () => StoredEmulator
  /** Changes that. */
  readonly keep: (change: (record: StoredEmulator) => StoredEmulator) => Promise<void>
  readonly failpoint: Failpoints
  readonly paths: EmulatorPaths
  readonly connector: EmulatorConnector
  readonly secrets: SecretValues
}

export class QemuDisks implements EmulatorDisks {
  readonly #parts: QemuDisksParts

  constructor(parts: QemuDisksParts) {
    this.#parts = parts
  }

  async plug(plan: DiskPlan): Promise<void> {
    await this.#letReach(plan)
    await this.#parts.keep((record) => withDisk(record, plan))
    try {
      await this.#parts.ask((monitor) => this.#makeMissing(monitor, plan))
    } catch (error) {
      const half = await this.#undo(plan.disk)
      if (half === undefined) throw (await heldByOthers(plan, error)) ?? error
      const first = error instanceof Error ? error.message : String(error)
      throw new KvasirError(
        'emulator-failed',
        `${first} What was made of disk ${plan.disk} is still there: ${half}`,
        {
          cause: error,
        },
      )
    }
  }

  async present(disks: readonly string[]): Promise<readonly string[]> {
    const devices = await this.#parts.ask((monitor) => childrenOf(monitor, '/machine/peripheral'))
    return disks.filter((disk) => devices.some((id) => isDeviceOf(id, disk)))
  }

  async askFor(disk: string): Promise<void> {
    await this.#parts.ask((monitor) => askFor(monitor, disk))
  }

  async throttle(limits: ReadonlyMap<string, DiskThrottle | undefined>): Promise<void> {
    await this.#parts.ask((monitor) => throttleDisks(monitor, limits))
  }

  async openTray(disk: string, options: { readonly force: boolean }): Promise<void> {
    await this.#parts.ask((monitor) => openTray(monitor, disk, options))
  }

  async changeMedium(plan: DiskPlan, { gone, onEmpty }: MediumChange): Promise<void> {
    const { ask, keep, paths } = this.#parts
    const { disk, nodes } = plan
    const files = nodes.flatMap(({ file }) => file ?? [])
    const isThere = this.#isKnown(plan) && (await ask((monitor) => isLoaded(monitor, disk)))
    if (isThere) return
    const user = this.#parts.record().uid
    for (const file of files) await requireOpenable({ file, user })
    await requireSound(plan, `drive ${disk} keeps its medium`)
    await ask(async (monitor) => {
      await openTray(monitor, disk, { force: false })
      await takeMediumOut(monitor, disk)
      await removeLooseNodes(monitor, disk)
      await removeObjects(monitor, (id) => isSecretObject(id) && isOfDisk(id, disk))
    })
    await takeReachBack(paths, disk)
    await keep((record) => withoutFiles(record, { disk, gone }))
    await onEmpty()
    if (nodes.length === 0) return
    await this.#letReach(plan)
    await keep((record) => withDisk(record, plan))
    await ask(async (monitor) => {
      for (const node of nodes) await this.#addNode(monitor, plan, node)
      await putMediumIn(monitor, { disk, node: plan.ids.node })
    })
  }

  async remove(disk: string): Promise<void> {
    const { ask, keep, failpoint, paths } = this.#parts
    await ask(async (monitor) => {
      await removeLooseNodes(monitor, disk)
      await failpoint('emulator.unplug.after-nodes')
      await this.#removeIoThread(monitor, disk)
      await removeObjects(monitor, (id) => isSecretObject(id) && isOfDisk(id, disk))
      await takeFilesBack(monitor, (label) => isOfDisk(label, disk))
    })
    await failpoint('emulator.unplug.after-files')
    await takeReachBack(paths, disk)
    await keep((record) => withoutDisk(record, disk))
  }

  async #letReach({ disk, reach }: DiskPlan): Promise<void> {
    const otherwise = `disk ${disk} is there from its next start on`
    await giveReach(this.#parts, { disk, servers: reach, otherwise })
  }

  /** Whether the files of a plan are those that were last given to the emulator for this disk. */
  #isKnown({ disk, nodes }: DiskPlan): boolean {
    const known = this.#parts.record().cage.filesOf[disk] ?? []
    const wanted = nodes.flatMap(({ file }) => file?.path ?? [])
    return wanted.length > 0 && wanted.join('\0') === known.join('\0')
  }

  /** A thread that other disks have too stays, and so does the controller that disks share, until the next boot. */
  async #removeIoThread(monitor: QmpClient, disk: string): Promise<void> {
    const { disks } = this.#parts.record().plan.ids
    if (isSharedThread(disks, disk)) return
    const thread = ioThreadOf(disks, disk)
    await removeObjects(monitor, (id) => id === thread)
  }

  async #makeMissing(monitor: QmpClient, plan: DiskPlan): Promise<void> {
    const { failpoint } = this.#parts
    const nodes = new Set(await nodesOf(monitor, plan.disk))
    await requireSound(plan, `disk ${plan.disk} is not plugged`)
    for (const node of plan.nodes)
      if (!nodes.has(node.options['node-name'])) await this.#addNode(monitor, plan, node)
    await failpoint('emulator.plug.after-nodes')
    const objects = await childrenOf(monitor, '/objects')
    for (const object of plan.objects) if (!objects.includes(object.id)) await addObject(monitor, object)
    const devices = await childrenOf(monitor, '/machine/peripheral')
    for (const device of plan.devices) if (!devices.includes(device.id)) await addDevice(monitor, device)
    await failpoint('emulator.plug.after-device')
  }

  async #addNode(monitor: QmpClient, plan: DiskPlan, node: BlockNode): Promise<void> {
    const { file, secret, options } = node
    if (file === undefined) {
      if (secret) await addSecret(monitor, secret, this.#parts.secrets)
      await addBlock(monitor, options, secret && keyTimeoutMs).catch((error: unknown) => {
        throw asRefusal(asDamage(error, plan, node), `What disk ${plan.disk} lies on`)
      })
      return
    }
    const label = options['node-name']
    await takeFileBack(monitor, label) // Passed by a daemon that died then.
    const filename = await passFile(monitor, { file, label, user: this.#parts.record().uid })
    await this.#parts.failpoint('emulator.plug.after-file')
    await addBlock(monitor, { ...options, filename })
  }

  /** Takes back what was made of a disk. Answers why something of it is left, if it is. */
  async #undo(disk: string): Promise<string | undefined> {
    try {
      const { ask } = this.#parts
      const deadline = performance.now() + controllerTimeoutMs
      while ((await this.present([disk])).length > 0) {
        await ask((monitor) => askFor(monitor, disk))
        if (performance.now() > deadline) return 'the guest does not let go of its controller.'
        await pause(lookMs)
      }
      await this.remove(disk)
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }
}

/** The names of what is below a path of QEMU's object tree. */
async function childrenOf(monitor: QmpClient, path: string): Promise<readonly string[]> {
  const all = await monitor.execute('qom-list', { path })
  return all.filter((one) => one.type.startsWith('child<')).map((one) => one.name)
}

/** The devices of a disk that are there: its own and its controller. */
async function devicesOf(monitor: QmpClient, disk: string): Promise<readonly string[]> {
  return (await childrenOf(monitor, '/machine/peripheral')).filter((id) => isDeviceOf(id, disk))
}

function isDeviceOf(id: string, disk: string): boolean {
  return id === deviceId('disk', disk) || id === deviceId('scsi', disk)
}

async function nodesOf(monitor: QmpClient, disk: string): Promise<readonly string[]> {
  const all = await monitor.execute('query-named-block-nodes', { flat: true })
  return all.flatMap((node) => node['node-name'] ?? []).filter((name) => isOfDisk(name, disk))
}

async function askFor(monitor: QmpClient, disk: string): Promise<void> {
  const devices = await devicesOf(monitor, disk)
  // With a controller of its own goes what is on it.
  const id = devices.find((name) => name === deviceId('scsi', disk)) ?? devices[0]
  if (id === undefined) return
  await monitor.execute('device_del', { id }).catch((error: unknown) => {
    const isGone = error instanceof QmpError && error.class === 'DeviceNotFound'
    const isAsked = error instanceof QmpError && error.message.includes('already in the process of unplug')
    if (!isGone && !isAsked) throw error
  })
}

async function removeObjects(monitor: QmpClient, isMeant: (id: string) => boolean): Promise<void> {
  for (const id of await childrenOf(monitor, '/objects'))
    if (isMeant(id)) await monitor.execute('object-del', { id })
}

/** What the model planned is what QEMU's introspection names; its types are those of one version of it. */
async function addBlock(monitor: QmpClient, options: QemuOptions, timeoutMs?: number): Promise<void> {
  await monitor.executeUntyped('blockdev-add', { ...options }, timeoutMs === undefined ? {} : { timeoutMs })
}

async function addObject(monitor: QmpClient, options: QemuOptions): Promise<void> {
  await monitor.executeUntyped('object-add', { ...options })
}

async function addDevice(monitor: QmpClient, options: QemuOptions): Promise<void> {
  await monitor.executeUntyped('device_add', { ...options })
}

/** The refusal of a disk whose file another program has open, which it names. */
async function heldByOthers({ disk, nodes }: DiskPlan, error: unknown): Promise<KvasirError | undefined> {
  if (!(error instanceof Error) || !isLockRefusal(error.message)) return undefined
  return await lockErrorOf(
    nodes.flatMap(({ file }) => file ?? []),
    `disk ${disk} is not plugged`,
  )
}

/** Looks at the qcow2 files of a disk before QEMU gets them. */
async function requireSound({ disk, nodes }: DiskPlan, consequence: string): Promise<void> {
  for (const { options } of nodes) {
    const { file } = nodes.find((node) => node.options['node-name'] === options['file']) ?? {}
    if (options.driver === 'qcow2' && file) await requireSoundFile(file, { disk, consequence })
  }
}
