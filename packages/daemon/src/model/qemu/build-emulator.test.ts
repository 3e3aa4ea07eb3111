import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError, type VmSpecInput, vmSpec } from '@kvasir/contract'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { planHardware } from '../pci/allocate.ts'
import { anyInput } from './any-spec.ts'
import { buildEmulator } from './build-emulator.ts'
import { firstDescriptor, serialLogDescriptor } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import type { QemuCapabilities } from './qemu-capabilities.ts'

const runs = fuzzRuns(80)

/** Every option that a plan may use, and whether a value follows it. */
const options: Readonly<Record<string, boolean>> = {
  '-name': true,
  '-uuid': true,
  '-no-user-config': false,
  '-nodefaults': false,
  '-msg': true,
  '-sandbox': true,
  '-machine': true,
  '-accel': true,
  '-global': true,
  '-cpu': true,
  '-smp': true,
  '-object': true,
  '-m': true,
  '-overcommit': true,
  '-boot': true,
  '-kernel': true,
  '-initrd': true,
  '-append': true,
  '-rtc': true,
  '-S': false,
  '-no-shutdown': false,
  '-action': true,
  '-chardev': true,
  '-mon': true,
  '-device': true,
  '-add-fd': true,
  '-blockdev': true,
  '-netdev': true,
  '-audiodev': true,
  '-tpmdev': true,
  '-display': true,
  '-vnc': true,
  '-spice': true,
  '-incoming': true,
}

/** The options of an argv, each with its value; fails on anything that QEMU would not read so. */
function readOptions(argv: readonly string[]): readonly (readonly [option: string, value: string])[] {
  const read: [string, string][] = []
  for (let i = 0; i < argv.length; i += 1) {
    const option = argv[i] ?? ''
    const takesValue = options[option]
    assert.notEqual(takesValue, undefined, `${option} is in the place of an option`)
    if (takesValue === true) i += 1
    read.push([option, takesValue === true ? (argv[i] ?? '') : ''])
  }
  return read
}

/** The options whose value is always JSON. */
const jsonOptions: ReadonlySet<string> = new Set(['-blockdev', '-device', '-netdev', '-object'])

/** The strings in which a user's text may stand as it is. */
const freeText: ReadonlySet<string> = new Set(['-append'])

/** Whether a value has only what our own words and the contract's names are made of; in JSON, nothing that needed an escape. */
function isTame(option: string, value: string): boolean {
  return jsonOptions.has(option) ? /^[\w.:@ /+{}[\]",-]*$/.test(value) : /^[\w.:@ /=+,-]*$/.test(value)
}

test(`over ${runs} random starts, no text of a user becomes an option, a path or a descriptor`, () => {
  fc.assert(
    fc.property(anyInput(), (input) => {
      const plan = buildEmulator(input)
      const read = readOptions(plan.argv)
      for (const [option, value] of read) {
        if (freeText.has(option)) continue
        assert.equal(/locking=off|"locking":|exec:|\/srv\//.test(value), false, value)
        assert.ok(isTame(option, value), `${option} ${value}`)
      }
    }),
    { numRuns: runs },
  )
})

test('descriptors, ids and node names are unique, and node names fit', () => {
  fc.assert(
    fc.property(anyInput(), (input) => {
      const plan = buildEmulator(input)
      const read = readOptions(plan.argv)

      const numbers = read.flatMap(([, value]) =>
        [...value.matchAll(/(?:^|[,"])(?:vhost)?fd(?:=|:|":"|","str":")(\d+)/g)].map((match) =>
          Number(match[1]),
        ),
      )
      const expected = plan.descriptors.map((_, index) => firstDescriptor + index)
      const ascending = (a: number, b: number): number => a - b
      assert.deepEqual(numbers.sort(ascending), [serialLogDescriptor, ...expected])

      const objects = read
        .filter(([option]) => jsonOptions.has(option))
        .map(([option, value]): [string, unknown] => [option, JSON.parse(value)])
      const named = (wanted: string, key: string): readonly unknown[] =>
        objects
          .filter(
            ([option, value]) =>
              option === wanted && typeof value === 'object' && value !== null && key in value,
          )
          .map(([, value]) => Object.entries(value ?? {}).find(([name]) => name === key)?.[1])
      for (const names of [
        named('-device', 'id'),
        named('-object', 'id'),
        named('-netdev', 'id'),
        named('-blockdev', 'node-name'),
      ]) {
        assert.equal(new Set(names).size, names.length, names.join(' '))
      }
      for (const node of named('-blockdev', 'node-name')) assert.ok(String(node).length <= 31, String(node))
      const served = plan.descriptors.flatMap((one) => (one.kind === 'nic' ? [one.nic] : []))
      assert.deepEqual(
        served,
        plan.userNics.map((nic) => nic.nic),
      )
    }),
    { numRuns: runs },
  )
})

test('the order of disks and NICs changes nothing', () => {
  fc.assert(
    fc.property(anyInput(), (input) => {
      const { spec } = input
      const reversed = { ...spec, disks: spec.disks.toReversed(), nics: spec.nics.toReversed() }
      assert.deepEqual(buildEmulator({ ...input, spec: reversed }), buildEmulator(input))
    }),
    { numRuns: Math.ceil(runs / 4) },
  )
})

const qemu: QemuCapabilities = { version: [7, 2, 22], machines: ['microvm', 'pc-q35-7.2'] }

function start(spec: VmSpecInput, change: Partial<HardwareInput> = {}): () => unknown {
  return () => {
    const parsed = vmSpec.parse(spec)
    const hardware = planHardware(parsed, undefined, { qemu, vsockCid: undefined })
    return buildEmulator({
      name: 'web1',
      uuid: 'a7c6c9a5-4a39-4a53-9d0a-6a38b1a7c001',
      spec: parsed,
      hardware,
      accelerator: 'tcg',
      qemu,
      disks: [],
      kernel: undefined,
      seedPath: undefined,
      vsock: false,
      restorePath: undefined,
      ...change,
    })
  }
}

const uefi = { executable: '/srv/code.fd', nvramPath: '/srv/nvram.fd' }

const refusals: readonly (readonly [string, () => unknown, string, RegExp])[] = [
  [
    'UEFI in less memory than it boots with',
    start({ machine: { firmware: 'uefi' }, memory: { size: 255 * 2 ** 20 } }, { firmware: uefi }),
    'bad-request',
    /boots with 255 MiB of memory.*give it 256 MiB/,
  ],
  [
    'SPICE on a QEMU without it',
    start(
      { devices: { spice: true } },
      {
        qemu: {
          version: [7, 2, 22],
          machines: ['microvm', 'pc-q35-7.2'],
          types: ['usb-redir', 'virtio-vga'],
        },
      },
    ),
    'unsupported',
    /lacks.*install the package qemu-system-modules-spice/,
  ],
  [
    'SPICE on a microvm',
    start({ machine: { type: 'microvm' }, devices: { spice: true } }),
    'unsupported',
    /microvm/,
  ],
  [
    'virtio-gpu on a QEMU without it',
    start(
      { devices: { display: 'virtio' } },
      { qemu: { version: [7, 2, 22], machines: ['microvm', 'pc-q35-7.2'], types: [] } },
    ),
    'unsupported',
    /\(virtio-vga\).*or choose the display vga/,
  ],
  [
    '3D on a QEMU without it',
    start(
      { devices: { display: 'virtio-gl' } },
      { qemu: { version: [7, 2, 22], machines: ['microvm', 'pc-q35-7.2'], types: ['virtio-vga'] } },
    ),
    'unsupported',
    /\(virtio-vga-gl\).*install the package qemu-system-modules-opengl/,
  ],
  ['UEFI on a host without it', start({ machine: { firmware: 'uefi' } }), 'unsupported', /no UEFI image/],
  [
    'UEFI on a microvm',
    start({ machine: { type: 'microvm', firmware: 'uefi' } }, { firmware: uefi }),
    'unsupported',
    /microvm/,
  ],
  [
    'a microvm that would boot from a disk',
    start({ machine: { type: 'microvm' } }),
    'unsupported',
    /microvm/,
  ],
  [
    'a microvm of a version',
    start({ machine: { type: 'microvm', version: '7.2' } }),
    'unsupported',
    /no versions/,
  ],
  [
    'a machine version that QEMU does not have',
    start({ machine: { version: '9.9' } }),
    'unsupported',
    /pc-q35-9\.9/,
  ],
  ['the host CPU under TCG', start({ cpu: { model: 'host' } }), 'accelerator-unavailable', /needs KVM/],
  [
    'a topology of another count',
    start({ cpu: { count: 3, topology: { cores: 2 } } }),
    'bad-request',
    /makes 2 vCPUs/,
  ],
  [
    'two NICs of one MAC address',
    start({ nics: ['a', 'b'].map((name) => ({ name, mac: '52:54:00:00:00:01' })) }),
    'bad-request',
    /two NICs/,
  ],
  ['a disk without a file', start({ disks: [{ name: 'root' }] }), 'internal', /no file behind it/],
  [
    'a QEMU before 7.2',
    start({}, { qemu: { version: [7, 1, 0], machines: ['pc-q35-7.2'] } }),
    'emulator-missing',
    /older than 7\.2/,
  ],
]

for (const [what, build, code, sentence] of refusals) {
  test(`${what} is refused`, () => {
    assert.throws(
      build,
      (error) => error instanceof KvasirError && error.code === code && sentence.test(error.message),
    )
  })
}
