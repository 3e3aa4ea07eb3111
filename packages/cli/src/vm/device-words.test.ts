import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskSpec, nicSpec } from '@kvasir/contract'
import fc from 'fast-check'
import { UsageError } from '../usage-error.ts'
import { parseDevices, parseDisk, parseThrottle } from './device-words.ts'
import { changedNic, parseForward, parseNic, parseNicChange } from './nic-words.ts'
import { parseValue, setField } from './set.ts'
import { disksFromFlags, nicsFromFlags } from './spec-from-flags.ts'

test('a disk is written as the fields of the spec', () => {
  const disk = parseDisk(
    'size=20GiB,format=raw,bus=virtio-scsi,cache=writeback,readOnly,ioThread=false,bootOrder=1',
    'disk0',
  )
  assert.deepEqual(disk, {
    name: 'disk0',
    size: '20GiB',
    format: 'raw',
    bus: 'virtio-scsi',
    cache: 'writeback',
    readOnly: true,
    ioThread: false,
    bootOrder: 1,
  })
  assert.equal(diskSpec.parse(disk).size, 20 * 2 ** 30)
  assert.equal(parseDisk('name=data,size=1G', 'disk0').name, 'data')
})

test('keys that a disk has not, values that are missing and keys given twice are refused', () => {
  for (const text of [
    'sise=1G',
    'size',
    'size=',
    'size=1G,size=2G',
    '=1',
    'readOnly=maybe',
    'bootOrder=first',
  ]) {
    assert.throws(() => parseDisk(text, 'a'), UsageError, text)
  }
})

test('forwards name ports, and may name protocol and address', () => {
  assert.deepEqual(parseForward('2222:22'), { hostPort: 2222, guestPort: 22 })
  assert.deepEqual(parseForward('udp:0.0.0.0:53:5353'), {
    protocol: 'udp',
    hostAddress: '0.0.0.0',
    hostPort: 53,
    guestPort: 5353,
  })
  assert.equal(parseForward('tcp:[::1]:80:8080').hostAddress, '::1')
  for (const text of ['', '22', '22:', ':22', '1:2:3', 'sctp:1:2', '123456:1', 'localhost:1:2']) {
    assert.throws(() => parseForward(text), UsageError, text)
  }
})

test('a NIC may have several forwards', () => {
  const nic = parseNic('mac=52:54:00:00:00:01,forward=2222:22,forward=8080:80', 'net0')
  assert.deepEqual(
    nicSpec.parse(nic).forwards.map((it) => it.hostPort),
    [2222, 8080],
  )
})

test('of a NIC that is there, what is named changes', () => {
  assert.deepEqual(parseNicChange('network=lan,forward=none'), { network: 'lan', forwards: [] })
  assert.deepEqual(parseNicChange('antiSpoof,isolated=false'), { antiSpoof: true, isolated: false })
  assert.deepEqual(parseNicChange('send=10MiB,receive=none'), {
    limits: { send: '10MiB', receive: undefined },
  })
  assert.throws(() => parseNicChange('name=net1'), UsageError)
})

test('a NIC that goes to user mode leaves its network and the address there, and keeps the rest', () => {
  const nic = nicSpec.parse({ name: 'net0', network: 'lan', address: '10.9.0.9', link: 'down' })

  const user = nicSpec.parse(changedNic(nic, parseNicChange('mode=user')))
  const other = nicSpec.parse(changedNic(nic, parseNicChange('network=dmz')))
  const same = nicSpec.parse(changedNic(nic, parseNicChange('link=up')))

  assert.deepEqual([user.mode, user.network, user.address, user.link], ['user', undefined, undefined, 'down'])
  assert.deepEqual([other.mode, other.network, other.address], ['network', 'dmz', undefined])
  assert.deepEqual([same.network, same.address, same.link], ['lan', '10.9.0.9', 'up'])
})

test('no text makes the parsers throw anything but a usage error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const parse of [parseDisk, parseNic, parseForward]) {
        try {
          parse(text, 'a')
        } catch (error) {
          assert.ok(error instanceof UsageError)
        }
      }
    }),
  )
})

test('on an image that boots from its disk, the first disk is the root disk', () => {
  assert.deepEqual(disksFromFlags(['size=20G', 'size=1G'], 'disk'), [
    { name: 'root', size: '20G', bootOrder: 1 },
    { name: 'disk1', size: '1G' },
  ])
  assert.deepEqual(disksFromFlags(['volume=mine'], 'disk'), [{ name: 'disk0', volume: 'mine' }])
  assert.deepEqual(disksFromFlags(['size=1G'], 'kernel'), [{ name: 'disk0', size: '1G' }])
  assert.deepEqual(disksFromFlags([], 'disk'), [])
})

test('a VM has one NIC unless it is to have none', () => {
  assert.deepEqual(nicsFromFlags([], []), [{ name: 'net0' }])
  assert.deepEqual(nicsFromFlags(['none'], []), [])
  assert.throws(() => nicsFromFlags(['none'], ['2222:22']), UsageError)
})

test('a set value has the kind that the field has', () => {
  assert.equal(parseValue('text', '5'), '5')
  assert.equal(parseValue(1, '5'), 5)
  assert.equal(parseValue(512, '2GiB'), '2GiB')
  assert.equal(parseValue(true, 'false'), false)
  assert.deepEqual(parseValue({}, '{"a":true}'), { a: true })
  assert.equal(parseValue(undefined, 'virtio'), 'virtio')
  assert.deepEqual(parseValue([], '0,1'), [0, 1])
  assert.deepEqual(parseValue([0], '[]'), [])
})

test('fields are set by path, devices by name, and an empty value removes', () => {
  const spec = { cpu: { count: 1 }, disks: [{ name: 'root', cache: 'none' }], labels: { a: 'b' } }
  setField(spec, 'vcpus', '4')
  setField(spec, 'disks.root.cache', 'unsafe')
  setField(spec, 'labels.a', '')
  setField(spec, 'cloudInit.user', 'ann')
  assert.deepEqual(spec, {
    cpu: { count: 4 },
    disks: [{ name: 'root', cache: 'unsafe' }],
    labels: {},
    cloudInit: { user: 'ann' },
  })
})

test('paths that lead nowhere, or to every object, are refused', () => {
  const spec = { cpu: { count: 1 }, disks: [{ name: 'root' }] }
  for (const field of [
    'disks.other.cache',
    'disks.new',
    'cpu.count.x',
    'cpuu.count',
    '__proto__',
    '__proto__.polluted',
    'cpu.__proto__.polluted',
  ]) {
    assert.throws(() => setField(spec, field, 'true'), UsageError, field)
  }
  assert.equal(Reflect.get({}, 'polluted'), undefined)
})

test('limits of a disk are written in one word, with bursts, and taken away by another', () => {
  assert.deepEqual(parseThrottle('iops=100,bytesWrite=20MiB,burst.iops=1000,burstSeconds=10,group=slow'), {
    iops: 100,
    bytesWrite: '20MiB',
    burst: { iops: 1000 },
    burstSeconds: 10,
    group: 'slow',
  })
  assert.equal(parseThrottle('none'), undefined)
  assert.throws(() => parseThrottle('iop=100'), UsageError)
  assert.throws(() => parseThrottle('iops=many'), UsageError)
})

test('the other devices are written in one word', () => {
  assert.deepEqual(parseDevices('watchdog,watchdogModel=itco,vnc=false,rngBytesPerSecond=1MiB'), {
    watchdog: true,
    watchdogModel: 'itco',
    vnc: false,
    rngBytesPerSecond: '1MiB',
  })
  assert.throws(() => parseDevices('wachdog'), UsageError)
  assert.throws(() => parseDevices('usb=perhaps'), UsageError)
})

test('the volume of a disk may be named with its pool', () => {
  assert.deepEqual(parseDisk('volume=san/lun-1', 'a'), { name: 'a', volume: 'lun-1', pool: 'san' })
  assert.deepEqual(parseDisk('pool=san,volume=san/lun-1', 'a').pool, 'san')
  for (const text of ['pool=fast,volume=san/lun-1', 'volume=san/lun-1,pool=fast'])
    assert.throws(() => parseDisk(text, 'a'), /not in pool "fast"/)
  assert.throws(() => parseDisk('volume=a/b/c', 'a'), UsageError)
})
