/**
 * The world audit: the store against the machine, both ways.
 *
 * `missing`: in the store, not on the machine. `orphan`: on the machine under our names, in no row. `mismatched`: in both, and
 * different. It changes nothing; recovery mends most of it at the next start. Work under way is left out: it is neither yet.
 */
import { type Audit, type AuditEntry, formatBytes } from '@kvasir/contract'
import { compareContents } from '../../model/storage/pool-contents.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { placeName } from '../pools/usable-pool.ts'
import { layerFiles } from '../snapshots/layer-files.ts'
import { lostDevices, lostThing } from '../vms/lost-devices.ts'
import { findOutsideLimits, limitSentences } from '../vms/outside-limits.ts'
import { inspectTuning } from '../vms/tune-threads.ts'
import { auditNotes, auditNvrams, auditSaves, auditSeeds, type Found } from './audit-files.ts'

/** Compares everything that is known with everything that is there. */
export async function auditWorld(context: Context): Promise<Audit> {
  const entries: AuditEntry[] = []
  let checked = 0
  for (const check of [
    auditEmulators,
    auditHugepages,
    auditVolumes,
    auditSaves,
    auditSeeds,
    auditNvrams,
    auditNotes,
    auditUids,
    auditImages,
  ]) {
    const found = await check(context)
    entries.push(...found.entries)
    checked += found.checked
  }
  return { clean: entries.length === 0, checked, entries }
}

/** States in which a VM has an emulator. */
const emulated = new Set(['running', 'paused', 'stopping', 'unknown'])

async function auditEmulators(context: Context): Promise<Found> {
  const { emulators } = context.ports
  const present = new Set(await emulators.present())
  const entries: AuditEntry[] = []
  for (const driver of context.drivers.list()) {
    const { record, busyWith } = driver.view()
    const isPresent = present.delete(record.id)
    if (busyWith) continue
    const shouldBe = emulated.has(record.life.state)
    if (shouldBe && !isPresent)
      entries.push({
        kind: 'missing',
        thing: 'emulator',
        id: record.id,
        detail: `VM ${record.name} is ${record.life.state} and has no emulator.`,
      })
    if (!shouldBe && isPresent)
      entries.push({
        kind: 'orphan',
        thing: 'emulator',
        id: record.id,
        detail: `VM ${record.name} is ${record.life.state} and something of an emulator is left.`,
      })
    if (shouldBe && isPresent)
      entries.push(
        ...(await auditCage(driver, context)),
        ...(await auditThreads(driver, context)),
        ...(await auditLimits(driver)),
        ...auditLost(driver),
      )
  }
  for (const id of present)
    entries.push({ kind: 'orphan', thing: 'emulator', id, detail: 'It belongs to no VM.' })
  return { entries, checked: context.drivers.list().length + present.size }
}

/** What was reserved of huge pages belongs to a VM that runs, and the kernel has as many. */
async function auditHugepages(context: Context): Promise<Found> {
  const { emulators, host } = context.ports
  const reservations = await emulators.reservations()
  const entries: AuditEntry[] = []
  const sums = new Map<string, { readonly pageBytes: number; readonly node: number; pages: number }>()
  for (const { id, node, pages, pageBytes } of reservations) {
    const key = `${pageBytes} ${node}`
    const sum = sums.get(key) ?? { pageBytes, node, pages: 0 }
    sums.set(key, { ...sum, pages: sum.pages + pages })
    const view = context.drivers.get(id)?.view()
    if (view && (view.busyWith || emulated.has(view.record.life.state))) continue
    const whose = view ? `VM ${view.record.name}, which is ${view.record.life.state}` : 'no VM'
    const what = `${pages} pages of ${formatBytes(pageBytes)} on node ${node}`
    entries.push({ kind: 'orphan', thing: 'huge pages', id, detail: `${what} are reserved for ${whose}.` })
  }
  for (const { pageBytes, node, pages } of sums.values()) {
    const { nodes } = await host.hugepages(pageBytes)
    const total = nodes.find((pool) => pool.node === node)?.total ?? 0
    if (total >= pages) continue
    const what = `${pages} pages of ${formatBytes(pageBytes)}`
    const detail = `${what} were reserved for VMs there, and the kernel has ${total}.`
    entries.push({ kind: 'missing', thing: 'huge pages', id: `node ${node}`, detail })
  }
  return { entries, checked: reservations.length }
}

async function auditCage(driver: Driver, context: Context): Promise<readonly AuditEntry[]> {
  const { record } = driver.view()
  const breaches = await context.ports.emulators.inspectCage(record.id, layerFiles(record, context.ports))
  return breaches.map((detail) => ({
    kind: 'mismatched' as const,
    thing: 'cage',
    id: record.id,
    detail: `VM ${record.name}: ${detail}`,
  }))
}

/** An emulator that does not answer has no threads to judge; its VM is `unknown`. */
async function auditThreads(driver: Driver, { ports }: Context): Promise<readonly AuditEntry[]> {
  const view = driver.view()
  const { record } = view
  const differences = await inspectTuning(view, ports).catch(() => [])
  return differences.map((detail) => ({
    kind: 'mismatched' as const,
    thing: 'threads',
    id: record.id,
    detail: `VM ${record.name}: ${detail}`,
  }))
}

/** Limits that somebody else has set stay as they are, and this is where they are told of. */
async function auditLimits(driver: Driver): Promise<readonly AuditEntry[]> {
  const { record, emulator } = driver.view()
  const limits = emulator ? await findOutsideLimits(record, emulator) : []
  return limitSentences(limits).map((detail) => ({
    kind: 'mismatched' as const,
    thing: 'limits',
    id: record.id,
    detail: `VM ${record.name}: ${detail}`,
  }))
}

/** What the host is to have of a running VM besides its emulator, and has no more. */
function auditLost(driver: Driver): readonly AuditEntry[] {
  const { record } = driver.view()
  return (lostDevices(record).lostDevices ?? []).map(({ device, reason }) => ({
    kind: 'missing' as const,
    thing: lostThing(device),
    id: record.id,
    detail: `VM ${record.name}: ${reason}`,
  }))
}

async function auditVolumes(context: Context): Promise<Found> {
  const { store } = context.ports
  const found = await Promise.all(store.pools.list().map((pool) => auditPool(pool, context)))
  const pools = new Set(store.pools.list().map(({ name }) => name))
  const lost = store.volumes.list().filter(({ pool }) => !pools.has(pool))
  const entries = lost.map(({ id, name, pool }) => ({
    kind: 'mismatched' as const,
    thing: 'volume',
    id,
    detail: `Volume ${name} is of pool ${pool}, which does not exist.`,
  }))
  return {
    entries: [...entries, ...found.flatMap((one) => one.entries)],
    checked: found.reduce((sum, { checked }) => sum + checked, lost.length),
  }
}

/** A pool that is not started is not looked at; one that does not answer is told of, and its volumes are neither there nor missing. */
async function auditPool(pool: PoolRecord, context: Context): Promise<Found> {
  const { store } = context.ports
  if (!pool.started || pool.phase !== 'ready') return { entries: [], checked: 0 }
  const listed = await context.ports.pools
    .of(pool)
    .list()
    .catch((error: unknown) => (error instanceof Error ? error.message : String(error)))
  if (typeof listed === 'string')
    return { entries: [{ kind: 'missing', thing: 'pool', id: pool.name, detail: listed }], checked: 1 }
  const rows = store.volumes.list().filter((row) => placeName(row) === pool.name)
  const entries = compareContents(listed, rows).flatMap((finding): AuditEntry[] => {
    const { kind, volume, file } = finding
    const row = rows.find((one) => one.name === volume)
    if (kind === 'foreign') return []
    if (kind === 'orphan')
      return [{ kind, thing: 'volume', id: file.replace(/\.[^.]*$/, ''), detail: 'A volume file of no row.' }]
    const said = kind === 'missing' ? kind : 'mismatched'
    return [{ kind: said, thing: 'volume', id: row?.id ?? file, detail: finding.detail }]
  })
  return { entries, checked: rows.length + listed.length }
}

async function auditUids(context: Context): Promise<Found> {
  const { store } = context.ports
  const entries: AuditEntry[] = []
  const vms = new Set(store.vms.list().map((row) => (row.kind === 'vm' ? row.record.id : row.id)))
  const given = store.uids.list().filter((entry) => entry.vmId !== undefined)
  for (const { uid, vmId } of given)
    if (vmId !== undefined && !vms.has(vmId))
      entries.push({
        kind: 'orphan',
        thing: 'uid',
        id: String(uid),
        detail: `It is given to ${vmId}, which does not exist.`,
      })
  return { entries, checked: given.length }
}

async function auditImages(context: Context): Promise<Found> {
  const { images, unreadable } = await context.ports.images.list()
  const entries = unreadable.map(({ id, reason }) => ({
    kind: 'mismatched' as const,
    thing: 'image',
    id,
    detail: reason,
  }))
  const known = new Set(images.map((image) => image.id))
  for (const volume of context.ports.store.volumes.list())
    if (volume.imageId && !known.has(volume.imageId))
      entries.push({
        kind: 'mismatched',
        thing: 'image',
        id: volume.imageId,
        detail: `Volume ${volume.name} is based on it and it is gone.`,
      })
  return { entries, checked: images.length + unreadable.length }
}
