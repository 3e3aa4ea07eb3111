/** The port of emulators on real QEMU processes in cages. */
import { rm } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract'
import type { Emulators, LaunchRequest, PageReservation } from '../../ports/emulators.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { Cages } from '../cage/cage.ts'
import { readCappedLog } from '../cage/capped-log.ts'
import type { DeviceDesk } from '../devices/device-desk.ts'
import type { SecretValues } from '../files/secret-files.ts'
import type { HugepageDesk } from '../memory/hugepage-desk.ts'
import { adoptEmulator } from './adopt-emulator.ts'
import { inspectEmulator } from './inspect-emulator.ts'
import { launchEmulator } from './launch-emulator.ts'
import type { NicServers } from './network-helper.ts'
import { PageWalks } from './page-walks.ts'
import {
  emulatorPaths,
  groupOf,
  idOfGroup,
  listDirectories,
  readWhole,
  removeDirectory,
} from './runtime-directory.ts'

const removeTimeoutMs = 10_000

export interface QemuOptions {
  readonly runtimeDir: string
  readonly logDir: string
  readonly cages: Cages
  readonly hugepages: HugepageDesk
  readonly devices: DeviceDesk
  readonly secrets: SecretValues
  readonly helpers: NicServers
  /** The path of QEMU, asked for at each launch: an upgrade may have changed it. */
  readonly binary: () => Promise<string>
  readonly failpoint: Failpoints
  readonly now: () => string
}

/** The emulators below a runtime directory. */
export function createQemuEmulators(options: QemuOptions): Emulators {
  const { cages, hugepages, devices, secrets, helpers, failpoint } = options
  const walks = new PageWalks()
  const pathsOf = (id: string) => emulatorPaths(options, id)
  return {
    announceLaunch: () => cages.groups.announce(),
    async launch(request, signal) {
      const [binary] = await Promise.all([options.binary(), requireNone(request, cages)])
      const { now } = options
      const tools = {
        cages,
        hugepages,
        devices,
        secrets,
        helpers,
        walks,
        binary,
        failpoint,
        paths: pathsOf(request.id),
        now,
      }
      return await launchEmulator(request, tools, signal)
    },
    async adopt(id, { timeoutMs }) {
      const binary = await options.binary().catch(() => '')
      const { groups } = cages
      const paths = pathsOf(id)
      return await adoptEmulator(id, {
        groups,
        cages,
        walks,
        secrets,
        helpers,
        devices,
        failpoint,
        paths,
        binary,
        timeoutMs,
      })
    },
    async present() {
      const groups = (await cages.groups.list()).map(idOfGroup).filter((id) => id !== undefined)
      const lenders = (await devices.lent()).map(({ vm }) => vm)
      return [...new Set([...groups, ...lenders, ...(await listDirectories(options.runtimeDir))])]
    },
    memo: (id) => readWhole(pathsOf(id).memo),
    clean: (id) => cleanUp(id, options),
    async readLog(id, source, bytes) {
      const paths = pathsOf(id)
      return await readCappedLog(source === 'serial' ? paths.serialLog : paths.emulatorLog, bytes)
    },
    async removeLogs(id) {
      await rm(pathsOf(id).logDirectory, { recursive: true, force: true })
    },
    reservations: () => listReservations(options),
    cageLimits: cages.shortcomings,
    controllers: cages.groups.controllers,
    inspectCage: (id, files = []) => inspectEmulator(id, { paths: pathsOf(id), groups: cages.groups, files }),
  }
}

/** Removes all that there is of an emulator, which ends with it, and gives back what it was lent. */
async function cleanUp(id: string, options: QemuOptions): Promise<void> {
  const { cages, hugepages, devices, failpoint } = options
  const paths = emulatorPaths(options, id)
  try {
    await cages.groups.remove(groupOf(id), { timeoutMs: removeTimeoutMs })
  } catch (cause) {
    throw new KvasirError(
      'host-failed',
      `What is left of the emulator of VM ${id} does not end, so nothing of it was removed.`,
      { cause },
    )
  }
  await hugepages.giveBack(paths.pages)
  await devices.giveBack(id)
  await removeDirectory(paths)
  await failpoint('emulator.end.after-directory')
}

async function requireNone({ id, name }: LaunchRequest, { groups }: Cages): Promise<void> {
  if (!(await groups.isPopulated(groupOf(id)))) return
  throw new KvasirError(
    'emulator-failed',
    `An emulator of VM ${name} is still running, so it is not started a second time.`,
  )
}

async function listReservations(options: QemuOptions): Promise<readonly PageReservation[]> {
  const ids = await listDirectories(options.runtimeDir)
  const found = ids.map(async (id) => {
    const parts = await options.hugepages.reservations(emulatorPaths(options, id).pages)
    return parts.map((part) => ({ id, ...part }))
  })
  return (await Promise.all(found)).flat()
}
