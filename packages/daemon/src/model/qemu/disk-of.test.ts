import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskOf, lockedDisk } from './disk-of.ts'
import type { DiskIds, EmulatorPlan } from './emulator-plan.ts'

const ids: DiskIds = { device: '', node: '', chain: [] }
const plan: Pick<EmulatorPlan, 'ids'> = {
  ids: {
    ioThreads: [],
    disks: { root: ids, data: ids },
    nics: {},
    balloon: undefined,
    vncSocketName: undefined,
  },
}

test('nodes and objects of a disk are known by their ids', () => {
  assert.equal(diskOf('disk-data', plan), 'data')
  assert.equal(diskOf('sec.base3-root', plan), 'root')
  assert.equal(diskOf('layer-0123', plan), undefined)
})

test('the disk that is closed to its secret is the one of the node that QEMU could not open', () => {
  const line = (node: string) =>
    `qemu-system-x86_64: -blockdev {"node-name":"${node}","driver":"qcow2","file":"file-x"}: Invalid password, cannot unlock any keyslot`

  assert.equal(lockedDisk(`one\n${line('disk-data')}\n`, plan), 'data')
  assert.equal(lockedDisk(line('base2-root'), plan), 'root')
  assert.equal(lockedDisk('qemu: Invalid password, cannot unlock any keyslot', plan), '')
  assert.equal(lockedDisk('qemu: -blockdev {"node-name":"disk-data"}: Permission denied', plan), undefined)
})
