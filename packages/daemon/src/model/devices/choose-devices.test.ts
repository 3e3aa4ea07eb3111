import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type HostDevice, hostDeviceSpec, KvasirError } from '@kvasir/contract'
import { chooseDevices } from './choose-devices.ts'
import type { PciDeviceReading } from './describe-devices.ts'

/** A function that can be given away, but for what is said otherwise. */
function device(address: string, more: Partial<HostDevice> = {}): HostDevice {
  return {
    kind: 'pci',
    address,
    what: 'Ethernet controller',
    vendorId: '8086',
    deviceId: '10ca',
    interfaces: [],
    resetMethods: ['flr'],
    usedBy: [],
    assignable: true,
    reason: 'group 5: one device alone',
    ...more,
  }
}

function offer(...devices: readonly HostDevice[]) {
  const pci = devices.map(
    ({ address, iommuGroup, driver, what }): PciDeviceReading => ({
      address,
      classCode: '020000',
      className: what,
      vendorId: '8086',
      deviceId: '10ca',
      driver,
      iommuGroup,
      interfaces: [],
      vfs: [],
      totalVfs: address === pf ? 7 : undefined,
      resetMethods: [],
      isBootDisplay: false,
      physicalFunction: undefined,
      disks: [],
      links: [],
    }),
  )
  return { devices, reading: { pci } }
}

const pf = '0000:02:00.0'
const parent = device(pf, { interfaces: ['eth0'], iommuGroup: 3 })
const vf = (number: number, more: Partial<HostDevice> = {}) =>
  device(`0000:02:10.${number}`, { physicalFunction: pf, iommuGroup: 10 + number, ...more })

function choose(wanted: Parameters<typeof hostDeviceSpec.parse>[0][], host: ReturnType<typeof offer>) {
  return chooseDevices({ name: 'web1', hostDevices: wanted.map((each) => hostDeviceSpec.parse(each)) }, host)
}

function refusal(wanted: Parameters<typeof hostDeviceSpec.parse>[0][], host: ReturnType<typeof offer>) {
  try {
    choose(wanted, host)
  } catch (error) {
    assert.ok(error instanceof KvasirError)
    return `${error.code}: ${error.message}`
  }
  throw new assert.AssertionError({ message: 'It was chosen.' })
}

test('a named resource takes the first that is free, and never one that is named by its address', () => {
  const host = offer(
    parent,
    vf(0, { vm: 'db1' }),
    vf(1),
    vf(2),
    vf(3, { usedBy: ['is an interface that is up'] }),
  )

  assert.deepEqual(
    choose(
      [
        { name: 'a', vf: 'eth0' },
        { name: 'z', address: '02:10.1' },
      ],
      host,
    ),
    {
      z: '0000:02:10.1',
      a: '0000:02:10.2',
    },
  )
  assert.match(
    refusal(
      [1, 2, 3].map((n) => ({ name: `n${n}`, vf: 'eth0' })),
      host,
    ),
    /^in-use: No virtual function of eth0 is free for VM web1\. The first: VM db1 has 0000:02:10\.0/,
  )
})

test('one model is found by vendor and device', () => {
  const other = device('0000:04:00.0', { vendorId: '10de', deviceId: '2204', iommuGroup: 9 })
  assert.deepEqual(choose([{ name: 'gpu', model: '10DE:2204' }], offer(parent, other)), {
    gpu: other.address,
  })
})

test('what the host uses is given by force only', () => {
  const used = device('0000:01:00.0', { usedBy: ['holds / (nvme0n1)'], iommuGroup: 2 })
  const wanted = { name: 'disk', address: used.address }

  assert.match(
    refusal([wanted], offer(used)),
    /^in-use: .* holds \/ \(nvme0n1\), so VM web1 gets it only with force/,
  )
  assert.deepEqual(choose([{ ...wanted, force: true }], offer(used)), { disk: used.address })
})

test('what the kernel cannot reset is given by force only', () => {
  const sticky = device('0000:01:00.0', { resetMethods: [], iommuGroup: 2 })
  const wanted = { name: 'gpu', address: sticky.address }

  assert.match(refusal([wanted], offer(sticky)), /^unsupported: .* only with force: the kernel knows no way/)
  assert.deepEqual(choose([{ ...wanted, force: true }], offer(sticky)), { gpu: sticky.address })
})

test('a group goes as a whole or not at all, and never to two VMs', () => {
  const both = [
    device('0000:05:00.0', { iommuGroup: 7, driver: 'snd_hda_intel' }),
    device('0000:05:00.1', { iommuGroup: 7, driver: 'xhci_hcd' }),
  ]
  const one = { name: 'one', address: '0000:05:00.0' }
  const two = { name: 'two', address: '0000:05:00.1' }

  assert.match(
    refusal([one], offer(...both)),
    /shares IOMMU group 7 with 0000:05:00\.1 \(Ethernet controller, xhci_hcd\), which the host works with: they are functions of one device, 0000:05:00/,
  )
  assert.deepEqual(choose([one, two], offer(...both)), { one: one.address, two: two.address })
  const [first, second] = both
  assert.ok(first && second)
  assert.match(
    refusal([one], offer(first, { ...second, driver: 'vfio-pci', vm: 'db1' })),
    /shares IOMMU group 7 with 0000:05:00\.1, which VM db1 has/,
  )
})

test('what there is not is told with what to do', () => {
  assert.match(
    refusal([{ name: 'a', vf: 'eth7' }], offer(parent)),
    /no device of this host has the interface eth7/,
  )
  assert.match(refusal([{ name: 'a', vf: 'eth0' }], offer(parent)), /make some of the 7: echo 2 >/)
  assert.match(
    refusal([{ name: 'a', address: '09:00.0' }], offer(parent)),
    /0000:09:00\.0\) does not exist on this host/,
  )
  assert.match(
    refusal(
      [{ name: 'a', address: '01:00.0' }],
      offer(device('0000:01:00.0', { assignable: false, reason: 'no IOMMU' })),
    ),
    /^unsupported: .* cannot be given to VM web1: no IOMMU/,
  )
})

test('a device is said in exactly one way', () => {
  const isGood = (value: object) => hostDeviceSpec.safeParse({ name: 'a', ...value }).success
  assert.ok(isGood({ vf: 'eth0' }))
  assert.ok(!isGood({}))
  assert.ok(!isGood({ vf: 'eth0', model: '8086:10ca' }))
  assert.ok(!isGood({ address: '../../x' }))
  assert.ok(!isGood({ vf: '../eth0' }))
})
