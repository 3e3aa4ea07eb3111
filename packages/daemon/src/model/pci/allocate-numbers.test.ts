/** Ports of SATA and LUNs: kept, given again, and refused when there are no more. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { planHardware } from './allocate.ts'

const host = {
  qemu: { version: [7, 2, 0], machines: ['pc-q35-7.2', 'microvm'] },
  vsockCid: undefined,
} as const
const sata = (...names: string[]) => vmSpec.parse({ disks: names.map((name) => ({ name, bus: 'sata' })) })
const luns = (...names: string[]) =>
  vmSpec.parse({ disks: names.map((name) => ({ name, bus: 'virtio-scsi', controller: 'shelf' })) })

test('a disk keeps its port, and that of one that has gone is given again', () => {
  const first = planHardware(sata('a', 'b'), undefined, host)
  const second = planHardware(sata('b', 'c'), first, host)
  assert.deepEqual(
    [first.sata, second.sata],
    [
      { a: 0, b: 1 },
      { b: 1, c: 0 },
    ],
  )
  assert.deepEqual(
    Object.keys(second.pci).filter((id) => id.startsWith('disk')),
    [],
  )
})

test('a LUN is given again only when the emulator that runs has let go of it', () => {
  const booted = planHardware(luns('a', 'b'), undefined, host)
  const running = planHardware(luns('b', 'c'), booted, { ...host, booted })
  const off = planHardware(luns('b', 'c'), booted, host)
  assert.deepEqual(
    [running.luns, off.luns],
    [
      { b: 1, c: 2 },
      { b: 1, c: 0 },
    ],
  )
})

test('255 LUNs take one slot, and more are refused; so is a seventh disk on SATA, and any on a microvm', () => {
  const names = Array.from({ length: 256 }, (_, index) => `d${index}`)
  const { pci, luns: given = {} } = planHardware(luns(...names.slice(1)), undefined, host)
  assert.deepEqual(
    Object.keys(pci).filter((id) => /^(disk|hba)-/.test(id)),
    ['hba-shelf'],
  )
  assert.equal(new Set(Object.values(given)).size, 255)
  assert.throws(() => planHardware(luns(...names), undefined, host), { code: 'unsupported' })
  assert.throws(() => planHardware(sata(...names.slice(0, 7)), undefined, host), { code: 'unsupported' })
  const micro = vmSpec.parse({ machine: { type: 'microvm' }, disks: [{ name: 'a', bus: 'sata' }] })
  assert.throws(() => planHardware(micro, undefined, host), { code: 'unsupported' })
})
