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
import type { EmulatorDisks } from '../../ports/emulator-disks.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { giveReach, takeReachBack } from './emulator-reach.ts'
import { addSecret } from './hand-secrets.ts'
import { removeLooseNodes } from './loose-nodes.ts'
import { passFile, takeFileBack, takeFilesBack } from './pass-file.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'
import { throttleDisks } from './throttle-disks.ts'

/** How long the controller of a disk that could not be plugged may take to go. */
const controllerTimeoutMs = 3_000
const lookMs = 50

export interface QemuDisksParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  /** Changes what is written down about the emulator. */
  readonly keep: (change: (record: StoredEmulator) => StoredEmulator) => Promise<void>
  readonly failpoint: Failpoints
  readonly paths: EmulatorPaths
  readonly secrets: SecretValues
}

export class QemuDisks implements EmulatorDisks {
  readonly #parts: QemuDisksParts

  constructor(parts: QemuDisksParts) {
    this.#parts = parts
  }

  async plug(plan: DiskPlan): Promise<void> {
    await giveReach(this.#parts.paths, { disk: plan.disk, servers: plan.reach })
    await this.#parts.keep((record) => withDisk(record, plan))
    try {
      await this.#parts.ask((monitor) => this.#makeMissing(monitor, plan))
    } catch (error) {
      const half = await this.#undo(plan.disk)
      if (half === undefined) throw error
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

  async remove(disk: string): Promise<void> {
    const { ask, keep, failpoint, paths } = this.#parts
    await ask(async (monitor) => {
      await removeLooseNodes(monitor, disk)
      await failpoint('emulator.unplug.after-nodes')
      await removeObjects(monitor, disk)
      await takeFilesBack(monitor, (label) => isOfDisk(label, disk))
    })
    await failpoint('emulator.unplug.after-files')
    await takeReachBack(paths, disk)
    await keep((record) => withoutDisk(record, disk))
  }

  async #makeMissing(monitor: QmpClient, plan: DiskPlan): Promise<void> {
    const { failpoint } = this.#parts
    const nodes = new Set(await nodesOf(monitor, plan.disk))
    for (const node of plan.nodes)
      if (!nodes.has(node.options['node-name'])) await this.#addNode(monitor, node)
    await failpoint('emulator.plug.after-nodes')
    const objects = await childrenOf(monitor, '/objects')
    for (const object of plan.objects) if (!objects.includes(object.id)) await addObject(monitor, object)
    const devices = await devicesOf(monitor, plan.disk)
    for (const device of plan.devices) if (!devices.includes(device.id)) await addDevice(monitor, device)
    await failpoint('emulator.plug.after-device')
  }

  async #addNode(monitor: QmpClient, { file, secret, options }: BlockNode): Promise<void> {
    if (file === undefined) {
      if (secret) await addSecret(monitor, secret, this.#parts.secrets)
      await addBlock(monitor, options)
      return
    }
    const label = options['node-name']
    await takeFileBack(monitor, label) // Passed by a daemon that died then.
    const filename = await passFile(monitor, { file, label })
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

function withDisk(record: StoredEmulator, { disk, ids, ioThread, nodes }: DiskPlan): StoredEmulator {
  const known = record.plan.ids
  const ioThreads = [
    ...known.ioThreads.filter((id) => id !== ioThread),
    ...(ioThread === undefined ? [] : [ioThread]),
  ]
  const opened = nodes.flatMap(({ file }) => file?.path ?? [])
  return {
    ...record,
    plan: { ids: { ...known, ioThreads, disks: { ...known.disks, [disk]: ids } } },
    cage: {
      ...record.cage,
      files: [...record.cage.files, ...opened],
      filesOf: { ...record.cage.filesOf, [disk]: opened },
    },
  }
}

/** Its files are told apart from those of others by what was written down when it was plugged; those of the start stay listed. */
function withoutDisk(record: StoredEmulator, disk: string): StoredEmulator {
  const known = record.plan.ids
  const { [disk]: _gone, ...disks } = known.disks
  const { [disk]: closed = [], ...filesOf } = record.cage.filesOf
  const files = [...record.cage.files]
  for (const path of closed) files.splice(files.lastIndexOf(path), 1)
  const ioThreads = known.ioThreads.filter((id) => id !== deviceId('io', disk))
  return {
    ...record,
    plan: { ids: { ...known, ioThreads, disks } },
    cage: { ...record.cage, files, filesOf },
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

async function removeObjects(monitor: QmpClient, disk: string): Promise<void> {
  const all = await childrenOf(monitor, '/objects')
  const gone = all.filter((id) => id === deviceId('io', disk) || (isSecretObject(id) && isOfDisk(id, disk)))
  for (const id of gone) await monitor.execute('object-del', { id })
}

/** What the model planned is what QEMU's introspection names; its types are those of one version of it. */
async function addBlock(monitor: QmpClient, options: QemuOptions): Promise<void> {
  await monitor.executeUntyped('blockdev-add', { ...options })
}

async function addObject(monitor: QmpClient, options: QemuOptions): Promise<void> {
  await monitor.executeUntyped('object-add', { ...options })
}

async function addDevice(monitor: QmpClient, options: QemuOptions): Promise<void> {
  await monitor.executeUntyped('device_add', { ...options })
}
