import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  moduleLoadOrder,
  moduleName,
  readFileSystemAliases,
  readModuleDepends,
  writeModulesAlias,
  writeModulesDep,
} from './kernel-modules.ts'

const depends: Readonly<Record<string, readonly string[]>> = {
  virtio: ['virtio_ring'],
  virtio_ring: [],
  virtio_net: ['net_failover', 'virtio'],
  net_failover: ['failover'],
  failover: [],
}
const dependsOf = (name: string): readonly string[] | undefined => depends[name]

test('each module loads after what it depends on, and what the kernel does not have is left out', () => {
  const order = moduleLoadOrder(['virtio-net', 'not_there', 'virtio'], dependsOf)

  assert.deepEqual(order, ['failover', 'net_failover', 'virtio_ring', 'virtio', 'virtio_net'])
})

test('modules that depend on each other do not make the order endless', () => {
  const order = moduleLoadOrder(['a'], (name) => (name === 'a' ? ['b'] : ['a']))

  assert.deepEqual(order, ['b', 'a'])
})

test('dependencies are read from the strings of a module', () => {
  const module = Buffer.from('ELF\0license=GPL\0depends=virtio_ring,net-failover\0name=x\0', 'latin1')

  assert.deepEqual(readModuleDepends(module), ['virtio_ring', 'net_failover'])
  assert.deepEqual(readModuleDepends(Buffer.from('\0depends=\0', 'latin1')), [])
  assert.deepEqual(readModuleDepends(Buffer.from('nothing here')), [])
})

test('a module is found by the file system that is mounted', () => {
  const strings = 'ELF\0alias=virtio:d0000001Av*\0alias=fs-virtiofs\0license=GPL\0alias=virtiofs-alias\0'
  const aliases = readFileSystemAliases(Buffer.from(strings, 'latin1'))

  assert.deepEqual(aliases, ['fs-virtiofs'])
  assert.equal(
    writeModulesAlias(
      new Map([
        ['virtiofs', aliases],
        ['isofs', []],
      ]),
    ),
    'alias fs-virtiofs virtiofs\n',
  )
})

test('file names of every compression give the name that the kernel uses', () => {
  assert.equal(moduleName('virtio-rng.ko.xz'), 'virtio_rng')
  assert.equal(moduleName('sd_mod.ko'), 'sd_mod')
})

test('modules.dep names for each file what it needs, nearest first', () => {
  const files = new Map([
    ['virtio_ring', 'kernel/virtio_ring.ko'],
    ['virtio', 'kernel/virtio.ko'],
    ['failover', 'kernel/failover.ko'],
    ['net_failover', 'kernel/net_failover.ko'],
    ['virtio_net', 'kernel/virtio_net.ko'],
  ])

  const lines = writeModulesDep(files, dependsOf).split('\n')

  assert.equal(lines[0], 'kernel/virtio_ring.ko:')
  assert.equal(
    lines[4],
    'kernel/virtio_net.ko: kernel/virtio.ko kernel/virtio_ring.ko kernel/net_failover.ko kernel/failover.ko',
  )
})
