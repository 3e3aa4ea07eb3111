import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError, type VmSpec, vmSpec } from '@kvasir/contract'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { anySpec } from '../qemu/any-spec.ts'
import type { Hardware } from '../qemu/hardware.ts'
import { planHardware } from './allocate.ts'
import {
  firstPluggableSlot,
  fixedSlots,
  pluggableAddress,
  portCount,
  portNumber,
  roomForPorts,
} from './layout.ts'

const runs = fuzzRuns(60)

const host = {
  qemu: { version: [10, 0, 0], machines: ['microvm', 'pc-q35-9.2', 'pc-q35-10.0', 'pc-q35-10.0.1'] },
  vsockCid: 7,
} as const

function places(hardware: Hardware): readonly string[] {
  return Object.values(hardware.pci).map(({ slot, function: fn }) => `${slot}.${fn}`)
}

function onMachineOf(first: VmSpec, next: VmSpec): VmSpec {
  const isMicrovm = first.machine.type === 'microvm' // It has no SATA, and NICs of one model.
  const disks = next.disks.filter(({ bus }) => !isMicrovm || bus !== 'sata')
  const nics = next.nics.map((nic) => (isMicrovm ? { ...nic, model: undefined } : nic))
  return { ...next, disks, nics, machine: first.machine }
}

test('through any history of edits addresses are unique and a device that stays keeps its own', () => {
  fc.assert(
    fc.property(fc.array(anySpec(), { minLength: 2, maxLength: 6 }), ([first, ...edits]) => {
      assert.ok(first !== undefined)
      let before = planHardware(first, undefined, host)
      for (const edit of edits) {
        const after = planHardware(onMachineOf(first, edit), before, host)
        assert.equal(new Set(places(after)).size, places(after).length)
        for (const [id, address] of Object.entries(before.pci)) {
          if (after.pci[id] !== undefined) assert.deepEqual(after.pci[id], address)
        }
        before = after
      }
    }),
    { numRuns: runs },
  )
})

test('the order of disks and NICs does not decide addresses', () => {
  fc.assert(
    fc.property(anySpec(), (spec) => {
      const reversed = { ...spec, disks: spec.disks.toReversed(), nics: spec.nics.toReversed() }
      assert.deepEqual(planHardware(reversed, undefined, host), planHardware(spec, undefined, host))
    }),
    { numRuns: runs },
  )
})

test('a device that comes to a guest that runs has an empty port and keeps it; the root bus is for what a boot brings', () => {
  const spec = (rng: boolean, watchdog: boolean, spareSlots = 1) =>
    vmSpec.parse({ devices: { rng, watchdog }, machine: { spareSlots } })
  const booted = planHardware(spec(false, false), undefined, host)

  const live = planHardware(spec(true, true), booted, { ...host, booted })
  const run = { ...booted, ports: 1, pci: { ...booted.pci, rng: { slot: 8, function: 0 } } }
  const freed = { ...booted, ports: 1 }

  assert.deepEqual(
    [live.pci['rng'], live.pci['watchdog']],
    [
      { slot: firstPluggableSlot, function: 0 },
      { slot: fixedSlots.watchdog, function: 0 },
    ],
  )
  assert.deepEqual(planHardware(spec(true, true), live, host).pci, live.pci)
  assert.deepEqual(planHardware(spec(true, false), booted, { ...host, booted: run }).pci, run.pci)
  const waited = planHardware(spec(false, true), live, { ...host, booted: freed })
  assert.deepEqual(waited.pci['watchdog'], { slot: firstPluggableSlot, function: 0 })
  const bare = vmSpec.parse({ machine: { type: 'microvm' }, devices: { rng: false } })
  const micro = planHardware(bare, undefined, host)
  const later = planHardware(vmSpec.parse({ machine: { type: 'microvm' } }), micro, {
    ...host,
    booted: micro,
  })
  assert.deepEqual(later.pci['rng'], { slot: fixedSlots.rng, function: 0 })
})

test('an address is given again only after its device is gone', () => {
  const withDisks = (...names: readonly string[]): VmSpec =>
    vmSpec.parse({ disks: names.map((name) => ({ name })) })
  const first = planHardware(withDisks('root', 'a', 'b'), undefined, host)

  const second = planHardware(withDisks('root', 'b', 'c'), first, host)

  assert.deepEqual(second.pci['disk-b'], first.pci['disk-b'])
  assert.deepEqual(second.pci['disk-c'], first.pci['disk-a'])
  assert.equal(second.pci['disk-a'], undefined)
})

test('the root disk comes first, behind port 0', () => {
  const { pci } = planHardware(vmSpec.parse({ disks: [{ name: 'a' }, { name: 'root' }] }), undefined, host)
  assert.deepEqual(pci['disk-root'], { slot: firstPluggableSlot, function: 0 })
})

test('64 disks and 16 NICs fit a q35, and no slot of the chipset is used', () => {
  const disks = Array.from({ length: 64 }, (_, index) => ({ name: `d${index}` }))
  const nics = Array.from({ length: 16 }, (_, index) => ({ name: `n${index}` }))
  const hardware = planHardware(vmSpec.parse({ disks, nics, cloudInit: {} }), undefined, host)
  assert.equal(new Set(places(hardware)).size, places(hardware).length)
  for (const { slot } of Object.values(hardware.pci)) assert.ok(slot > 0 && slot < 31)
})

test('a microvm with more devices than slots is refused', () => {
  const disks = Array.from({ length: 25 }, (_, index) => ({ name: `d${index}` }))
  const spec = vmSpec.parse({ machine: { type: 'microvm' }, disks })
  assert.throws(
    () => planHardware(spec, undefined, host),
    (error) => error instanceof KvasirError && error.code === 'unsupported',
  )
})

test('a new VM gets the newest machine by number, and an old one keeps its own when QEMU offers newer ones', () => {
  const spec = vmSpec.parse({})
  const created = planHardware(spec, undefined, host)
  assert.equal(created.machine, 'pc-q35-10.0')
  const machines = [...host.qemu.machines, 'pc-q35-11.0']
  assert.equal(
    planHardware(spec, created, { ...host, qemu: { ...host.qemu, machines } }).machine,
    'pc-q35-10.0',
  )
})

test('a vsock CID stays with its VM', () => {
  const spec = vmSpec.parse({})
  const created = planHardware(spec, undefined, host)
  assert.equal(created.vsockCid, 7)
  assert.equal(planHardware(spec, created, { ...host, vsockCid: 9 }).vsockCid, 7)
})

test('the number of a port is the inverse of its place, and fixed slots come before ports', () => {
  for (let index = 0; index < 184; index += 1) assert.equal(portNumber(pluggableAddress('q35', index)), index)
  for (const slot of Object.values(fixedSlots)) assert.ok(slot < firstPluggableSlot)
})

test('a NIC of conventional PCI has a slot of the root bus, and no root port comes to it', () => {
  const nics = [
    { name: 'old', model: 'e1000' },
    { name: 'older', model: 'rtl8139' },
    { name: 'new', model: 'e1000e' },
  ]
  const input = { nics, machine: { spareSlots: 32 } } as const
  const { pci } = planHardware(vmSpec.parse(input), undefined, host)
  assert.deepEqual(pci['card-old'], { slot: 30, function: 0 })
  assert.deepEqual(pci['card-older'], { slot: 29, function: 0 })
  assert.equal(portNumber(pci['nic-new'] ?? { slot: 0, function: 0 }), 0)
  assert.equal(portCount({ pci, spareSlots: 32 }), 33)
  assert.equal(roomForPorts(pci), (29 - firstPluggableSlot) * 8)
  const disks = Array.from({ length: 170 }, (_, index) => ({ name: `d${index}` }))
  assert.throws(() => planHardware(vmSpec.parse({ ...input, disks }), undefined, host), /room for 168/)
})

test('a model that QEMU or the machine has not is refused when it is asked for', () => {
  const spec = vmSpec.parse({ nics: [{ name: 'lan', model: 'igb' }] })
  const old = { ...host, qemu: { ...host.qemu, version: [7, 2, 22] } } as const
  assert.throws(() => planHardware(spec, undefined, old), /has the NIC model igb since 8\.0 and is 7\.2\.22/)
  const micro = vmSpec.parse({ machine: { type: 'microvm' }, nics: [{ name: 'lan', model: 'e1000e' }] })
  assert.throws(() => planHardware(micro, undefined, host), /NIC lan cannot be an e1000e/)
})
