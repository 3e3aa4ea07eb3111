import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readHostDevices } from '@kvasir/linux/device-reading'
import { memoryTree } from '@kvasir/linux/testing/machine-files'
import { judgeIommu } from '../host/judge-iommu.ts'
import { describeDevices } from './describe-devices.ts'

/** A PCI function with its files, in a group of the IOMMU. */
function pciFiles(
  address: string,
  shape: {
    readonly class: string
    readonly driver?: string
    readonly group?: number
    readonly more?: Record<string, string>
  },
): readonly (readonly [string, string])[] {
  const folder = `/sys/bus/pci/devices/${address}`
  return [
    [`${folder}/class`, `0x${shape.class}`],
    [`${folder}/vendor`, '0x8086'],
    [`${folder}/device`, '0x10c9'],
    ...(shape.driver === undefined ? [] : [[`${folder}/driver`, `-> ../drivers/${shape.driver}`] as const]),
    ...(shape.group === undefined
      ? []
      : [
          [`${folder}/iommu_group`, `-> ../iommu_groups/${shape.group}`] as const,
          [`/sys/kernel/iommu_groups/${shape.group}/devices/${address}`, `-> ../${address}`] as const,
        ]),
    ...Object.entries(shape.more ?? {}).map(([name, text]) => [`${folder}/${name}`, text] as const),
  ]
}

const nvme = '0000:01:00.0'
const nic = '0000:02:00.0'
const second = '0000:02:00.1'
const display = '0000:03:00.0'

const machine = memoryTree(
  new Map([
    ...pciFiles('0000:00:01.0', { class: '060400', driver: 'pcieport', group: 1 }),
    ...pciFiles(nvme, { class: '010802', driver: 'nvme', group: 2, more: { reset_method: 'flr bus' } }),
    ...pciFiles(nic, { class: '020000', driver: 'igb', group: 3 }),
    ...pciFiles(second, { class: '020000', driver: 'igb', group: 3 }),
    ...pciFiles(display, { class: '030000', group: 4, more: { boot_vga: '1' } }),
    ['/sys/class/block/nvme0n1', `-> ../../devices/pci0000:00/0000:00:01.0/${nvme}/nvme/nvme0/nvme0n1`],
    [
      '/sys/class/block/nvme0n1p1',
      `-> ../../devices/pci0000:00/0000:00:01.0/${nvme}/nvme/nvme0/nvme0n1/nvme0n1p1`,
    ],
    ['/sys/class/block/nvme0n1p1/holders/dm-0', ''],
    ['/sys/class/block/dm-0', '-> ../../devices/virtual/block/dm-0'],
    ['/sys/class/block/dm-0/dev', '253:0'],
    [
      '/proc/self/mountinfo',
      '22 1 253:0 / / rw - ext4 /dev/mapper/root rw\n23 1 0:20 / /proc rw - proc proc rw',
    ],
    ['/sys/class/net/eth0', `-> ../../devices/pci0000:00/0000:00:01.0/${nic}/net/eth0`],
    ['/sys/class/net/eth0/operstate', 'up'],
    ['/sys/class/net/eth0/master', '-> ../br0'],
    [
      '/proc/net/route',
      'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nbr0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000',
    ],
    ['/sys/bus/usb/devices/1-2/idVendor', '046d'],
    ['/sys/bus/usb/devices/1-2/idProduct', 'c31c'],
    ['/sys/bus/usb/devices/1-2/product', 'Key\u001bboard'],
  ]),
)

function devicesOf(tree: typeof machine, holders: ReadonlyMap<string, string> = new Map()) {
  const reading = readHostDevices(tree)
  const { iommu: files, kernelOptions, pci: pciDevices } = reading
  const devices = describeDevices(reading, judgeIommu({ files, kernelOptions, pciDevices }), { holders })
  return new Map(devices.map((device) => [device.address, device]))
}

test('what the host would lose with a device is told, through device mapper and bridges', () => {
  const devices = devicesOf(machine)

  assert.deepEqual(devices.get(nvme)?.usedBy, ['holds / (nvme0n1p1)'])
  assert.deepEqual(devices.get(nvme)?.resetMethods, ['flr', 'bus'])
  assert.deepEqual(devices.get(nic)?.usedBy, ['is the host’s way out (eth0)'])
  assert.deepEqual(devices.get(second)?.usedBy, [])
  assert.deepEqual(devices.get(display)?.usedBy, ['is the only display of the host'])
})

test('a group is given as a whole, and bridges stay', () => {
  const devices = devicesOf(machine)

  assert.equal(devices.get(nvme)?.assignable, true)
  assert.match(
    devices.get(nic)?.reason ?? '',
    /only together with 0000:02:00\.1 \(Ethernet controller, igb\); they are functions of one device, 0000:02:00, which has no ACS/,
  )
  assert.equal(devices.get('0000:00:01.0')?.assignable, false)
})

test('without an IOMMU nothing can be given away, and the reason says what is missing', () => {
  const { assignable, reason } =
    devicesOf(memoryTree(new Map(pciFiles(nvme, { class: '010802' })))).get(nvme) ?? {}
  assert.equal(assignable, false)
  assert.match(reason ?? '', /no IOMMU is to be seen/)
})

test('a VM that has a device is named, and so is a device whose VF it has', () => {
  const files = new Map([
    ...pciFiles(nic, {
      class: '020000',
      group: 3,
      more: { sriov_totalvfs: '7', virtfn0: '-> ../0000:02:10.0' },
    }),
    ...pciFiles('0000:02:10.0', {
      class: '020000',
      driver: 'vfio-pci',
      group: 5,
      more: { physfn: `-> ../${nic}` },
    }),
  ])
  const devices = devicesOf(memoryTree(files), new Map([['0000:02:10.0', 'web1']]))

  assert.equal(devices.get('0000:02:10.0')?.vm, 'web1')
  assert.equal(devices.get('0000:02:10.0')?.physicalFunction, nic)
  assert.deepEqual(devices.get(nic)?.usedBy, ['has VFs that VMs have (0000:02:10.0)'])
})

test('what a USB device says of itself cannot move a cursor', () => {
  assert.equal(devicesOf(machine).get('1-2')?.what, 'Key?board')
})

test('who shares a group hears below which bridge nothing keeps them apart, and what cannot be reset says so', () => {
  const [left, right] = ['0000:05:00.0', '0000:06:00.0']
  const bridges = '../../../devices/pci0000:00/0000:00:1c.0/0000:04:00.0'
  const sticky = '0000:07:00.0'
  const files = new Map([
    ...pciFiles(sticky, { class: '030000', group: 10 }),
    ...pciFiles(left, { class: '020000', driver: 'igb', group: 9 }),
    ...pciFiles(right, { class: '010802', driver: 'nvme', group: 9, more: { reset: '' } }),
    [`/sys/bus/pci/devices/${left}`, `-> ${bridges}/0000:04:01.0/${left}`],
    [`/sys/bus/pci/devices/${right}`, `-> ${bridges}/0000:04:02.0/${right}`],
  ])
  const devices = devicesOf(memoryTree(files))

  assert.match(
    devices.get(left)?.reason ?? '',
    /: 0000:05:00\.0 .*; the way from them to the host has no ACS at the bridge 0000:04:00\.0 or below$/,
  )
  assert.deepEqual(devices.get(right)?.resetMethods, ['reset'])
  assert.match(devices.get(sticky)?.reason ?? '', /one device alone; the kernel knows no way to reset it/)
})
