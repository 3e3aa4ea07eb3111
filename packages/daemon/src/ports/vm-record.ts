/**
 * A VM's record as text, and back: the one form in which it is written down, in the store's row and in the memo beside an emulator.
 *
 * What was written is read through a schema; text that does not fit is told apart from a record, never guessed at.
 */
import { aioModes, cacheModes, placementPlan, vmSpec, vmState } from '@kvasir/contract'
import { z } from 'zod'
import type { Hardware } from '../model/qemu/hardware.ts'
import type { EmulatorRecord } from './emulators.ts'
import type { SavedMemory, VmLife, VmRecord, VmRun } from './store.ts'

const hardware = z.object({
  machine: z.string().min(1),
  pci: z.record(z.string(), z.object({ slot: z.int().nonnegative(), function: z.int().nonnegative() })),
  vsockCid: z.int().optional(),
  ports: z.int().positive().optional(),
  spareSlots: z.int().nonnegative().optional(),
  sata: z.record(z.string(), z.int().nonnegative()).optional(),
  luns: z.record(z.string(), z.int().nonnegative()).optional(),
  channels: z.record(z.string(), z.int().nonnegative()).optional(),
  hostDevices: z.record(z.string(), z.string()).optional(),
  vfs: z.record(z.string(), z.object({ address: z.string(), pf: z.string() })).optional(),
  plugMemory: z.object({ bootBytes: z.int().positive(), regionBytes: z.int().positive() }).optional(),
})

/** What a disk has inside QEMU, as it is written down. */
export const diskIds = z.object({
  device: z.string(),
  node: z.string(),
  chain: z.array(z.string()),
  ioThread: z.string().optional(),
  controller: z.string().optional(),
  aio: z.object({ mode: z.enum([...aioModes, 'driver']), reason: z.string() }).optional(),
  cache: z.object({ mode: z.enum(cacheModes), reason: z.string() }).optional(),
})

const life = z.object({
  state: vmState,
  reason: z.string(),
  since: z.string(),
  exit: z.object({ code: z.int().optional(), signal: z.string().optional(), log: z.string() }).optional(),
})

/** The ids of channels as they are written down, by the channel's name. */
export const channelIds = z.record(
  z.string(),
  z.object({
    device: z.string(),
    socket: z.templateLiteral(['channel', z.int().nonnegative()]),
  }),
)

const emulator = z.object({
  pid: z.int().positive(),
  startTicks: z.int().nonnegative(),
  bootId: z.string().min(1),
  cgroup: z.string(),
  startedAt: z.string(),
  qemuVersion: z.string(),
  plan: z.object({
    ids: z.object({
      ioThreads: z.array(z.string()),
      disks: z.record(z.string(), diskIds),
      nics: z.record(
        z.string(),
        z.object({
          device: z.string(),
          netdev: z.string(),
          vhost: z.boolean().optional(),
          macvtap: z.boolean().optional(),
          user: z.object({ kind: z.enum(['passt', 'slirp']), reason: z.string() }).optional(),
        }),
      ),
      vncSocketName: z.string().optional(),
      spiceSocketName: z.string().optional(),
      renderNode: z.string().optional(),
      channels: channelIds.optional(),
    }),
  }),
})

const run = z.object({
  emulator,
  accelerator: z.enum(['kvm', 'tcg']),
  acceleratorReason: z.string(),
  bootedSpec: vmSpec,
  bootedHardware: hardware.optional(),
  tuned: z.boolean().optional(),
  limits: z.record(z.string(), z.string()).optional(),
  vcpuTarget: z.int().positive().optional(),
  movingDisks: z.array(z.string()).optional(),
  movingNics: z.array(z.string()).optional(),
  lost: z.array(z.object({ device: z.string(), since: z.string() })).optional(),
  movingHostDevices: z.array(z.string()).optional(),
  movingChannels: z.array(z.string()).optional(),
  movingShares: z.array(z.string()).optional(),
  movingDevices: z.array(z.string()).optional(),
})

const storedPlan = z.object({ plan: placementPlan, basis: z.string() })

/** Saved memory as it is written down. */
export const savedMemory = z.object({
  sizeBytes: z.int().nonnegative(),
  at: z.string(),
  booted: z.object({ spec: vmSpec, hardware }).optional(),
})

const checkpoint = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  description: z.string(),
  createdAt: z.string(),
  phase: z.enum(['creating', 'ready']),
  disks: z.array(z.string()),
})

const record = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  revision: z.int().nonnegative(),
  createdAt: z.string(),
  phase: z.enum(['creating', 'ready', 'deleting']),
  intent: z.enum(['none', 'start', 'stop', 'reboot', 'save', 'save-paused', 'end', 'end-crashed', 'restart']),
  uid: z.int().nonnegative(),
  spec: vmSpec,
  hardware,
  /** Read apart: a plan that another version wrote in another form does not damage the record. */
  placement: z.unknown().optional(),
  placementLost: z.string().optional(),
  life,
  lifeBeforeStart: life.optional(),
  restartsBegun: z.int().positive().optional(),
  run: run.optional(),
  checkpoints: z.array(checkpoint).optional(),
  saved: savedMemory.optional(),
  nvram: z.object({ id: z.string().min(1), executable: z.string().min(1) }).optional(),
})

/** A record that could be read, or why it could not. */
export type DecodedVmRecord =
  | { readonly kind: 'record'; readonly record: VmRecord }
  | { readonly kind: 'unreadable'; readonly reason: string }

/** Writes a record as JSON text. */
export function encodeVmRecord(value: VmRecord): string {
  return JSON.stringify(value)
}

/** Reads a record from JSON text. Never throws. */
export function decodeVmRecord(text: string): DecodedVmRecord {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { kind: 'unreadable', reason: 'its content is not JSON' }
  }
  const parsed = record.safeParse(value)
  if (parsed.success) return { kind: 'record', record: asRecord(parsed.data) }
  const issue = parsed.error.issues[0]
  return {
    kind: 'unreadable',
    reason: `its content does not fit at ${issue?.path.join('.') || 'the top'}: ${issue?.message ?? ''}`,
  }
}

function asRecord({ placement, ...value }: z.output<typeof record>): VmRecord {
  return {
    ...value,
    ...asPlacement(placement),
    hardware: asHardware(value.hardware),
    life: asLife(value.life),
    lifeBeforeStart: value.lifeBeforeStart && asLife(value.lifeBeforeStart),
    run: value.run && asRun(value.run),
    saved: value.saved && readSavedMemory(value.saved),
  }
}

function asPlacement(value: unknown): Pick<VmRecord, 'placement' | 'placementLost'> {
  if (value === undefined) return {}
  const parsed = storedPlan.safeParse(value)
  if (parsed.success) return { placement: parsed.data }
  const issue = parsed.error.issues[0]
  return {
    placementLost: `its plan does not fit at ${issue?.path.join('.') || 'the top'}: ${issue?.message}`,
  }
}

function asHardware(value: z.output<typeof hardware>): Hardware {
  return { ...value, vsockCid: value.vsockCid }
}

function asLife(value: z.output<typeof life>): VmLife {
  const { exit, ...rest } = value
  if (exit === undefined) return rest
  return {
    ...rest,
    exit: {
      ...(exit.code === undefined ? {} : { code: exit.code }),
      ...(exit.signal === undefined ? {} : { signal: exit.signal }),
      log: exit.log,
    },
  }
}

/** Saved memory as it was written down. */
export function readSavedMemory(value: z.output<typeof savedMemory>): SavedMemory {
  const { booted, ...rest } = value
  return { ...rest, ...(booted && { booted: { ...booted, hardware: asHardware(booted.hardware) } }) }
}

function asRun(value: z.output<typeof run>): VmRun {
  const { emulator, bootedHardware, tuned, ...rest } = value
  return {
    ...rest,
    ...(tuned === undefined ? {} : { tuned }),
    emulator: asEmulator(emulator),
    ...(bootedHardware && { bootedHardware: asHardware(bootedHardware) }),
  }
}

function asEmulator(value: z.output<typeof emulator>): EmulatorRecord {
  const { ids } = value.plan
  return {
    ...value,
    plan: { ids: { ...ids, vncSocketName: ids.vncSocketName } },
  }
}
