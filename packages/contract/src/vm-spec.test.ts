import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createVmBody, endpoints } from './endpoints.ts'
import { vm } from './vm.ts'
import { vmSpec } from './vm-spec.ts'

function issues(input: unknown): string {
  const result = vmSpec.safeParse(input)
  assert.equal(result.success, false)
  return result.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n') ?? ''
}

test('an empty spec is a whole VM', () => {
  const spec = vmSpec.parse({})
  assert.equal(spec.cpu.count, 1)
  assert.equal(spec.memory.size, 512 * 2 ** 20)
  assert.equal(spec.devices.rng, true)
})

test('a parsed spec parses to itself, so that what the daemon shows can be applied', () => {
  const spec = vmSpec.parse({
    memory: { size: '2GiB' },
    disks: [{ name: 'root', image: 'tiny', size: '20G' }],
    nics: [{ name: 'net0', forwards: [{ hostPort: 2222, guestPort: 22 }] }],
    cloudInit: { user: 'root' },
  })
  assert.deepEqual(vmSpec.parse(structuredClone(spec)), spec)
  assert.deepEqual(vmSpec.parse(JSON.parse(JSON.stringify(spec))), spec)
})

test('unknown keys are refused and named, at every depth', () => {
  assert.match(issues({ memroy: {} }), /memroy/)
  assert.match(issues({ cpu: { cores: 2 } }), /cpu: .*cores/)
  assert.match(issues({ disks: [{ name: 'a', fromat: 'raw' }] }), /disks\.0: .*fromat/)
  assert.match(
    issues({ nics: [{ name: 'a', forwards: [{ hostPort: 1, guestPort: 1, port: 1 }] }] }),
    /forwards\.0: .*port/,
  )
  const body = createVmBody.safeParse({ name: 'a', spec: {}, colour: 'red' })
  assert.match(body.error?.message ?? '', /colour/)
})

test('fields of memory that contradict each other are refused', () => {
  const parse = (memory: object) => vmSpec.parse({ memory }).memory
  assert.equal(parse({ size: '1GiB', pageSize: '1GiB' }).pageSize, '1GiB')
  assert.deepEqual(parse({ nodes: [1, 0], nodePolicy: 'interleave' }).nodes, [1, 0])
  for (const memory of [
    { size: '33MiB', pageSize: '2MiB' },
    { size: '1025MiB', pageSize: '1GiB' },
    { pageSize: '4MiB' },
    { nodes: [0, 0] },
    { nodes: [1024] },
    { nodes: [-1] },
    { nodes: [0, 1], nodePolicy: 'preferred' },
    { size: '64MiB', max: '1GiB', pageSize: '2MiB' },
    { size: '64MiB', max: '1GiB', lock: true },
  ])
    issues({ memory })
})

test('memory is a whole number of MiB between 16 MiB and 16 TiB', () => {
  assert.equal(vmSpec.parse({ memory: { size: '16MiB' } }).memory.size, 2 ** 24)
  for (const size of ['15MiB', '17TiB', '33554433', -1, 0, 1.5, '9E', 2 ** 60]) issues({ memory: { size } })
})

test('numbers have bounds: vCPUs, disks, NICs, ports', () => {
  for (const count of [0, -1, 256, 1.5, '2', Number.NaN]) issues({ cpu: { count } })
  issues({ disks: Array.from({ length: 257 }, (_, i) => ({ name: `d${i}` })) })
  issues({ nics: Array.from({ length: 17 }, (_, i) => ({ name: `n${i}` })) })
  for (const hostPort of [0, 65_536, -1, 22.5])
    issues({ nics: [{ name: 'a', forwards: [{ hostPort, guestPort: 22 }] }] })
})

test('two devices cannot share a name', () => {
  assert.match(issues({ disks: [{ name: 'a' }, { name: 'a' }] }), /two disks of one name/)
  assert.match(issues({ nics: [{ name: 'a' }, { name: 'a' }] }), /two NICs of one name/)
})

test('channels have names that an option takes, of their own, and are not many', () => {
  const channels = (...names: readonly string[]) => ({ devices: { channels: names } })
  assert.deepEqual(vmSpec.parse(channels('org.example.app.0', 'a')).devices.channels, [
    'org.example.app.0',
    'a',
  ])
  assert.equal(vmSpec.parse({}).devices.channels, undefined)
  for (const name of ['', '.a', 'a.', 'a,b', 'a b', 'a/b', '../a', 'ä', 'a\n', 'a'.repeat(65)])
    issues(channels(name))
  assert.match(issues(channels('a', 'b', 'a')), /names a channel twice/)
  assert.match(issues(channels('org.qemu.guest_agent.0')), /is the channel of devices\.agent/)
  assert.match(issues(channels('com.redhat.spice.0')), /is the channel of devices\.spice/)
  const many = Array.from({ length: 17 }, (_, index) => `c${index}`)
  assert.match(issues(channels(...many)), /more than 16 channels/)
})

test('texts that end up on command lines hold nothing that could end an option', () => {
  issues({ boot: { cmdline: 'a\nb' } })
  issues({ boot: { kernel: { kernel: '/a', cmdline: 'a\0b' } } })
  issues({ cpu: { model: 'host,migratable=off' } })
  issues({ cpu: { features: { 'a,b': true } } })
  issues({ disks: [{ name: 'a', serial: 'x,y' }] })
  issues({ machine: { version: '7.2,accel=kvm' } })
  issues({ cloudInit: { sshKeys: ['ssh-ed25519 AAAA\nruncmd'] } })
})

test('prototype keys are no way in', () => {
  const input: unknown = JSON.parse('{"__proto__":{"polluted":true},"labels":{"constructor":"x"}}')
  const result = vmSpec.safeParse(input)
  assert.equal(Reflect.get({}, 'polluted'), undefined)
  assert.equal(result.success && 'polluted' in result.data, false)
})

test('a VM as the daemon shows it holds sizes as numbers', () => {
  const shown = {
    name: 'a',
    uuid: '0190a2b0-0000-7000-8000-000000000001',
    revision: 1,
    createdAt: '2026-01-01T00:00:00Z',
    spec: vmSpec.parse({}),
    status: { state: 'shutoff', reason: 'never started', since: '2026-01-01T00:00:00Z' },
  }
  assert.equal(vm.parse(shown).spec.memory.size, 512 * 2 ** 20)
  assert.equal(endpoints.listVms.response.parse([shown]).length, 1)
})

test('limits under which no emulator lives, and flags without number, are refused', () => {
  assert.match(issues({ memory: { hard: 0 } }), /memory\.hard: is less than 128 MiB/)
  assert.equal(vmSpec.safeParse({ memory: { hard: '128MiB' } }).success, true)
  const features = Object.fromEntries(Array.from({ length: 513 }, (_, index) => [`f${index}`, true]))
  assert.match(issues({ cpu: { features } }), /cpu\.features: has more than 512 flags/)
})

test('what only some devices have is refused without them', () => {
  assert.equal(vmSpec.parse({ devices: { rngBytesPerSecond: '1MiB' } }).devices.rngBytesPerSecond, 2 ** 20)
  assert.match(issues({ devices: { rng: false, rngBytesPerSecond: '1MiB' } }), /only a VM with rng/)
  assert.match(issues({ devices: { rngBytesPerSecond: 0 } }), /between 1KiB and 1GiB/)
  assert.match(issues({ devices: { watchdogModel: 'itco' } }), /only a VM with a watchdog/)
  assert.match(issues({ devices: { pointer: 'trackball' } }), /devices.pointer/)
})

test('queues, an MTU and offloads are those of a virtio NIC on a network', () => {
  const nic = { name: 'a', network: 'lan' }

  const { queues, mtu, offloads } =
    vmSpec.parse({ nics: [{ ...nic, queues: 8, mtu: 576, offloads: 'off' }] }).nics[0] ?? {}

  assert.deepEqual([queues, mtu, offloads], [8, 576, 'off'])
  for (const bad of [{ queues: 0 }, { queues: 9 }, { mtu: 575 }, { mtu: 65_536 }, { offloads: true }])
    assert.notEqual(issues({ nics: [{ ...nic, ...bad }] }), '', JSON.stringify(bad))
  for (const said of [{ queues: 1 }, { mtu: 1400 }, { offloads: 'on' }]) {
    assert.match(issues({ nics: [{ name: 'a', ...said }] }), /in user mode there is one queue/)
    assert.match(issues({ nics: [{ ...nic, model: 'e1000e', ...said }] }), /only a NIC of model virtio has/)
  }
})
