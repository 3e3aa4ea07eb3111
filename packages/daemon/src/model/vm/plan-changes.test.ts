import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nicSpec, type VmSpec, type VmSpecInput, type VmState, vmSpec, vmStates } from '@kvasir/contract'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { anySpec } from '../qemu/any-spec.ts'
import { changeRules } from './change-rules.ts'
import { mergeKept } from './merge-kept.ts'
import { planChanges } from './plan-changes.ts'
import { specFields } from './spec-fields.ts'

const running = { state: 'running' } as const
const image = 'a'.repeat(64)

/** A VM as it is kept after its creation from an image with a disk. */
const kept = vmSpec.parse({
  image,
  machine: { version: '7.2' },
  disks: [
    { name: 'root', image, volume: 'web1-root' },
    { name: 'data', size: '1GiB', volume: 'web1-data' },
  ],
  nics: [{ name: 'lan', mac: '52:54:00:00:00:01', forwards: [{ hostPort: 8080, guestPort: 80 }] }],
} satisfies VmSpecInput)

function edited(change: (spec: VmSpec) => Partial<VmSpec>): VmSpec {
  return { ...kept, ...change(kept) }
}

function effects(wanted: VmSpec, state: VmState = 'running'): Record<string, string> {
  return Object.fromEntries(
    planChanges(kept, wanted, { state }).map((change) => [change.field, change.effect]),
  )
}

test('what only the daemon uses counts at once, also while the VM is saved', () => {
  const wanted = edited((spec) => ({
    description: 'web',
    labels: { team: 'blue' },
    autostart: { ...spec.autostart, enabled: true },
    lifecycle: { ...spec.lifecycle, shutdownTimeoutSeconds: 5, onPanic: 'stop' },
  }))
  const live = {
    'autostart.enabled': 'live',
    description: 'live',
    labels: 'live',
    'lifecycle.onPanic': 'live',
    'lifecycle.shutdownTimeoutSeconds': 'live',
  }
  assert.deepEqual(effects(wanted), live)
  assert.deepEqual(effects(wanted, 'saved'), live)
})

test('how the host makes memory waits for the next start, of which saved memory is one', () => {
  const wanted = edited((spec) => ({
    memory: {
      ...spec.memory,
      thp: 'never',
      nodes: [0],
      nodePolicy: 'preferred',
      sharing: 'shared',
    },
  }))
  const later = {
    'memory.nodePolicy': 'next-boot',
    'memory.nodes': 'next-boot',
    'memory.sharing': 'next-boot',
    'memory.thp': 'next-boot',
  }
  assert.deepEqual(effects(wanted), later)
  assert.deepEqual(effects(wanted, 'saved'), later)
})

test('KSM changes while the guest runs, but for memory of which it merges nothing', () => {
  const before = vmSpec.parse({})
  const after = vmSpec.parse({ memory: { ksm: false } })
  const bootedWith = (memory: VmSpecInput['memory']) =>
    planChanges(before, after, { state: 'running', booted: vmSpec.parse({ memory }) })[0]?.effect

  assert.equal(bootedWith({}), 'live')
  assert.equal(bootedWith({ sharing: 'shared' }), 'next-boot')
  assert.equal(bootedWith({ pageSize: '2MiB' }), 'next-boot')
  assert.equal(planChanges(before, after, { state: 'saved' })[0]?.effect, 'next-boot')
})

test('what decides whether the guest reports free pages is refused while the VM is saved', () => {
  const wanted = edited((spec) => ({
    memory: { ...spec.memory, pageSize: '2MiB', preallocate: true, lock: true },
  }))

  assert.deepEqual(effects(wanted, 'saved'), {
    'memory.lock': 'refused',
    'memory.pageSize': 'refused',
    'memory.preallocate': 'refused',
  })
})

test('hardware changes wait for the next boot, and are refused while the VM is saved', () => {
  const wanted = edited((spec) => ({
    cpu: { ...spec.cpu, count: 2 },
    memory: { ...spec.memory, size: 2 ** 30 },
    disks: spec.disks
      .filter((disk) => disk.name === 'root')
      .map((disk) => ({ ...disk, cache: 'writeback' as const })),
    nics: [...spec.nics, nicSpec.parse({ name: 'dmz' })],
  }))
  const fields = ['cpu.count', 'disks.data', 'disks.root.cache', 'memory.size', 'nics.dmz']
  assert.deepEqual(effects(wanted), Object.fromEntries(fields.map((field) => [field, 'next-boot'])))
  assert.deepEqual(effects(wanted, 'saved'), Object.fromEntries(fields.map((field) => [field, 'refused'])))
})

test('a device that is added or removed is one change with its whole value', () => {
  const [change] = planChanges(
    kept,
    edited((spec) => ({ disks: spec.disks.slice(0, 1) })),
    running,
  )
  assert.equal(change?.field, 'disks.data')
  assert.deepEqual(change?.from, kept.disks[1])
  assert.equal(change?.to, null)
})

test('what was pinned at creation is refused in every state', () => {
  const other = { size: 2 ** 40, format: 'raw' } as const
  const wanted = edited((spec) => ({
    image: 'b'.repeat(64),
    machine: { type: 'microvm', firmware: 'uefi', version: '10.0' },
    disks: spec.disks.map((disk) => ({ ...disk, ...other, volume: `${disk.name}-other` })),
  }))
  const fields = ['image', 'machine.firmware', 'machine.type', 'machine.version']
  for (const disk of ['data', 'root'])
    fields.push(...['format', 'size', 'volume'].map((field) => `disks.${disk}.${field}`))
  for (const state of vmStates) {
    assert.deepEqual(effects(wanted, state), Object.fromEntries(fields.map((field) => [field, 'refused'])))
  }
})

test('the order of disks, NICs, forwards, labels and flags changes nothing', () => {
  const a = vmSpec.parse({
    labels: { a: '1', b: '2' },
    cpu: { features: { avx: true, sse3: false } },
    disks: [{ name: 'a' }, { name: 'b' }],
    nics: [
      {
        name: 'n',
        forwards: [
          { hostPort: 1, guestPort: 2 },
          { hostPort: 3, guestPort: 4 },
        ],
      },
      { name: 'm' },
    ],
  })
  const b = vmSpec.parse({
    labels: { b: '2', a: '1' },
    cpu: { features: { sse3: false, avx: true } },
    disks: [{ name: 'b' }, { name: 'a' }],
    nics: [
      { name: 'm' },
      {
        name: 'n',
        forwards: [
          { hostPort: 3, guestPort: 4 },
          { hostPort: 1, guestPort: 2 },
        ],
      },
    ],
  })
  assert.deepEqual(planChanges(a, b, running), [])
})

test('a name with dots is not taken for a field', () => {
  const a = vmSpec.parse({ disks: [{ name: 'a' }, { name: 'a.cache' }] })
  const b = vmSpec.parse({ disks: [{ name: 'a', cache: 'unsafe' }] })
  const changes = planChanges(a, b, running)
  assert.deepEqual(
    changes.map((change) => change.field),
    ['disks.a.cache', 'disks.a.cache'],
  )
  assert.deepEqual(new Set(changes.map((change) => change.to)), new Set([null, 'unsafe']))
})

test('a file that leaves out what was generated changes nothing when it is applied again', () => {
  const file = vmSpec.parse({
    image,
    disks: [{ name: 'data', size: '1GiB' }],
    nics: [{ name: 'lan', forwards: [{ hostPort: 8080, guestPort: 80 }] }],
  })
  assert.deepEqual(planChanges(kept, mergeKept(kept, file), running), [])
})

test('the disk that came with the image stays although no file lists it, and another one does go', () => {
  const merged = mergeKept(kept, vmSpec.parse({}))
  assert.deepEqual(merged.disks, [kept.disks[0]])
})

test('a machine version is not carried over to another machine type', () => {
  const merged = mergeKept(kept, vmSpec.parse({ machine: { type: 'microvm' } }))
  assert.equal(merged.machine.version, undefined)
})

test('every rule names a field that a spec can have', () => {
  const full = vmSpec.parse({
    image,
    machine: { version: '7.2', firmware: 'uefi', secureBoot: true },
    cpu: {
      topology: {},
      max: 1,
      weight: 1,
      quotaPercent: 1,
      cpus: '0',
      pin: {},
      threadLimits: {},
      scheduler: { policy: 'idle' },
    },
    memory: {
      max: '1GiB',
      floor: '64MiB',
      target: '256MiB',
      high: '1GiB',
      hard: '2GiB',
      swap: 0,
      preallocateThreads: 2,
    },
    boot: { kernel: { kernel: '/k' }, cmdline: 'quiet' },
    cloudInit: {},
    disks: [
      { name: 'd', volume: 'v', image, size: 1, format: 'raw', throttle: { iops: 1 } },
      { name: 'c', bus: 'sata', device: 'cdrom', file: '/iso' },
    ],
    nics: [
      { name: 'n', network: 'lan', model: 'e1000', address: '10.9.0.9', limits: { send: '1MiB' } },
      {
        name: 'm',
        network: 'lan',
        vlan: 5,
        trunk: [7],
        queues: 1,
        mtu: 1400,
        offloads: 'off',
        ipv6: 'fd00::9',
      },
    ],
    hostDevices: [{ name: 'h', vf: 'eth0' }],
    shares: [{ name: 's', folder: '/srv/s' }],
    devices: {
      channels: ['org.example.app.0'],
      display: 'virtio-gl',
      renderNode: '/dev/dri/renderD128',
      rngBytesPerSecond: '1MiB',
      watchdog: true,
      watchdogModel: 'i6300esb',
      pointer: 'virtio',
      keyboard: 'usb',
      usb: true,
    },
  })
  const kinds = new Set([...specFields(full).values()].map((field) => field.kind))
  for (const kind of Object.keys(changeRules)) assert.ok(kinds.has(kind), kind)
})

test('a spec applied to itself never changes anything, and keeping twice is keeping once', () => {
  fc.assert(
    fc.property(anySpec(), anySpec(), (a, b) => {
      assert.deepEqual(planChanges(a, mergeKept(a, a), running), [])
      const merged = mergeKept(a, b)
      assert.deepEqual(mergeKept(a, merged), merged)
    }),
    { numRuns: fuzzRuns(120) },
  )
})

test('a pin that goes with its disk says so', () => {
  const disk = { name: 'data', size: '1GiB', ioThread: true }
  const before = vmSpec.parse({ cpu: { pin: { ioThreads: { data: '2' } } }, disks: [disk] })
  const after = vmSpec.parse({})

  const [pin] = planChanges(before, after, { state: 'running' })

  assert.deepEqual(
    [pin?.field, pin?.effect, pin?.reason],
    ['cpu.pin', 'live', 'the pin of an I/O thread goes with its disk, and disk data goes'],
  )
})

test('a pin of a thread that TCG did without waits for the next boot', () => {
  const disk = { name: 'data', size: '1GiB' }
  const before = vmSpec.parse({ disks: [disk] })
  const after = vmSpec.parse({ cpu: { pin: { ioThreads: { data: '2' } } }, disks: [disk] })

  const effects = (['tcg', 'kvm'] as const).map((accelerator) => {
    const [pin] = planChanges(before, after, { state: 'running', booted: before, accelerator })
    return [pin?.field, pin?.effect]
  })

  assert.deepEqual(effects, [
    ['cpu.pin', 'next-boot'],
    ['cpu.pin', 'live'],
  ])
})
