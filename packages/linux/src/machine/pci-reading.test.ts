import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { memoryTree } from '../testing/machine-files.ts'
import { DirectoryTree } from './host-tree.ts'
import { pciClassName } from './pci-class.ts'
import { readPciDevices } from './pci-reading.ts'

function newRoot(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'kvasir-pci-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  return root
}

/** A bridge with a device behind it, as below /sys/devices. */
function plantDevices(root: string): string {
  const bridge = join(root, 'sys/devices/pci0000:00/0000:00:01.0')
  mkdirSync(join(bridge, '0000:01:00.0'), { recursive: true })
  writeFileSync(join(bridge, 'class'), '0x060400\n')
  writeFileSync(join(bridge, '0000:01:00.0/class'), '0x020000\n')
  writeFileSync(join(bridge, '0000:01:00.0/numa_node'), '-1\n')
  return bridge
}

const addresses = (root: string) => readPciDevices(new DirectoryTree(root)).map(({ address }) => address)

test('devices are found by the links of the bus', (t) => {
  const root = newRoot(t)
  plantDevices(root)
  mkdirSync(join(root, 'sys/bus/pci/devices'), { recursive: true })
  for (const path of ['0000:00:01.0', '0000:00:01.0/0000:01:00.0'])
    symlinkSync(
      `../../../devices/pci0000:00/${path}`,
      join(root, 'sys/bus/pci/devices', path.split('/').at(-1) ?? ''),
    )

  const devices = readPciDevices(new DirectoryTree(root))

  assert.deepEqual(
    devices.map(({ address, classCode, node }) => [address, classCode, node]),
    [
      ['0000:00:01.0', '060400', undefined],
      ['0000:01:00.0', '020000', undefined],
    ],
  )
})

test('links whose devices were not captured are left out', (t) => {
  const root = newRoot(t)
  mkdirSync(join(root, 'sys/bus/pci/devices'), { recursive: true })
  symlinkSync('../../../devices/pci0000:00/0000:00:02.0', join(root, 'sys/bus/pci/devices/0000:00:02.0'))

  assert.deepEqual(addresses(root), [])
})

test('without the bus, devices are found below their bridges, each once, also when links lead in a circle', (t) => {
  const root = newRoot(t)
  const bridge = plantDevices(root)
  symlinkSync('..', join(bridge, '0000:01:00.0/0000:05:00.0'))

  assert.deepEqual(addresses(root), ['0000:00:01.0', '0000:01:00.0', '0000:05:00.0'])
})

test('addresses of large domains count, and what only looks like an address does not', () => {
  const folder = '/sys/bus/pci/devices'
  const files = ['10000:e1:00.0', '0000:00:3f.0', 'pci0000:00', '0000:00:1f.7'].map(
    (address) => [`${folder}/${address}/class`, '0x010802'] as const,
  )

  const found = readPciDevices(memoryTree(new Map(files)))

  assert.deepEqual(
    found.map(({ address }) => address),
    ['0000:00:1f.7', '10000:e1:00.0'],
  )
})

test('classes have words, by subclass, by class, or none', () => {
  assert.deepEqual(['010802', '010000', '01ff00', 'ff0000'].map(pciClassName), [
    'NVMe controller',
    'SCSI controller',
    'storage controller',
    'other device',
  ])
})
