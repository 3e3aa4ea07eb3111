import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Image, type Vm, type Volume, vm as vmSchema, vmSpec } from '@kvasir/contract'
import { formatProperties } from '../output/table.ts'
import { chainUnder, usersOf } from '../volume/chain.ts'
import { exactSize } from './edit.ts'
import { describeVm } from './show.ts'

const imageId = 'a'.repeat(64)
const at = '2026-11-21T10:00:00Z'
const image: Image = {
  id: imageId,
  name: 'debian-13',
  os: 'debian',
  release: 'trixie',
  version: '13',
  architecture: 'x86_64',
  createdAt: at,
  source: 'recipe',
  boot: 'disk',
  firmware: ['bios'],
}

function volume(name: string, more: Partial<Volume> = {}): Volume {
  const room = { capacityBytes: 3 * 2 ** 30, allocatedBytes: 2 ** 20 }
  return { name, pool: 'default', format: 'qcow2', ...room, usedBy: [], createdAt: at, ...more }
}

const volumes = [
  volume('web1-root', { base: 'web1-root.base', usedBy: ['web1'] }),
  volume('web2-root', { base: 'web1-root.base', usedBy: ['web2'] }),
  volume('web1-root.base', { image: imageId }),
]
const shelf = { volumes, images: [image] }

function web1(status: Partial<Vm['status']>): Vm {
  return vmSchema.parse({
    name: 'web1',
    uuid: '0190a2b0-0000-7000-8000-000000000001',
    revision: 3,
    createdAt: at,
    spec: vmSpec.parse({
      image: imageId,
      memory: { size: '512MiB' },
      disks: [{ name: 'root', volume: 'web1-root' }],
      nics: [{ name: 'net0', forwards: [{ hostPort: 2222, guestPort: 22 }] }],
    }),
    status: { state: 'shutoff', reason: 'it was shut down on request', since: at, ...status },
  })
}

function page(vm: Vm): string {
  const nowMs = Date.parse('2026-11-21T10:05:00Z')
  return formatProperties(describeVm(vm, { shelf, nowMs }), (name) => name)
}

test('what the guest asked of a disk is shown with it', () => {
  const counts = { readRequests: 9, writeRequests: 4, flushRequests: 1 }
  const disks = [{ disk: 'root', readBytes: 3 * 2 ** 20, writtenBytes: 8192, ...counts }]

  assert.match(page(web1({ disks })), /image debian-13; read 3 MiB, wrote 8 KiB$/m)
})

test('a disk is shown with its chain down to the image, by name', () => {
  const text = page(web1({}))

  assert.match(
    text,
    /^Disks +root {2}virtio-blk, qcow2, 3 GiB, 1 MiB used: web1-root > web1-root\.base > image debian-13$/m,
  )
  assert.match(text, /^Boots +image debian-13$/m)
  assert.doesNotMatch(text, new RegExp(imageId))
})

test('a NIC in user mode says who serves it and why, unless that is lost', () => {
  const userNics: Vm['status']['userNics'] = [
    { nic: 'net0', server: 'slirp', reason: 'passt is not installed' },
  ]
  const lostDevices = [{ device: 'nics.net0', since: '2026-11-21T10:00:00Z', reason: 'it has ended' }]

  assert.match(
    page(web1({ userNics })),
    /^NICs +net0 {2}user, -> slirp \(passt is not installed\) -> the host's network$/m,
  )
  assert.match(page(web1({ userNics, lostDevices })), /^NICs +net0 {2}user, lost$/m)
})

test('a NIC on a network says what its guest was told of it where that is not as ever', () => {
  const way = {
    nic: 'net0',
    network: 'lan',
    bridge: 'kvb1',
    tap: 'kvt1',
    uplinks: [],
    vhost: false,
    addresses: [],
  }
  const shown = (mtu: number, offloads: 'on' | 'off') =>
    page(web1({ nics: [{ ...way, queues: 2, mtu, offloads }] }))

  assert.match(shown(1500, 'on'), / 2 queues -> emulator -> kvt1 -> kvb1/)
  assert.match(shown(1400, 'off'), / 2 queues \(MTU 1400, no offloads\) -> emulator/)
})

test('a running VM says how to reach its guest, and what waits for the next boot', () => {
  const text = page(
    web1({
      state: 'running',
      restartNeeded: ['memory.size'],
      restartReasons: { 'memory.size': 'it has no room to grow' },
      memoryBytes: 2 ** 30,
      cageLimits: ['one', 'two'],
      guest: { agent: 'connected', interfaces: [{ name: 'eth0', addresses: ['192.0.2.9/24'] }] },
    }),
  )

  assert.match(text, /^Since +.*, 5 min ago$/m)
  assert.match(text, /^Next boot +changes memory\.size\n +memory\.size: it has no room to grow$/m)
  assert.match(text, /^Memory +1 GiB$/m)
  assert.match(text, /^Forwards +127\.0\.0\.1:2222 -> 22 \(tcp\)$/m)
  assert.match(text, /kvasir vm console web1\n +kvasir vm ssh web1\n +kvasir vm exec web1 COMMAND\n/)
  assert.match(text, /^Cage limits +2 not enforceable/m)
})

test('a VM that is off shows neither ways to its guest nor an emulator', () => {
  assert.doesNotMatch(page(web1({})), /kvasir vm console|Emulator|Cage limits/)
})

test('a base says how many volumes are on it, and a chain that names itself ends', () => {
  assert.deepEqual(
    volumes.map((it) => usersOf(it, volumes)),
    ['VM web1', 'VM web2', 'base of 2 volumes'],
  )
  assert.equal(usersOf(volume('spare'), volumes), undefined)

  const loop = volume('loop', { base: 'loop' })
  assert.deepEqual(chainUnder(loop, { volumes: [loop], images: [] }), ['loop'])
})

test('an edited size keeps its bytes whatever unit it is written in', () => {
  assert.deepEqual([exactSize(2 ** 30), exactSize(512 * 2 ** 20), exactSize(1000)], ['1GiB', '512MiB', 1000])
})
