import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeFirmware } from '../host/firmware.ts'
import { chooseFirmware } from './choose-firmware.ts'

const machine = 'pc-q35-7.2'

/** The three descriptors of Debian's package ovmf, shortened. */
function image(executable: string, features: readonly string[], change: object = {}) {
  const text = JSON.stringify({
    'interface-types': ['uefi'],
    mapping: {
      device: 'flash',
      executable: { filename: executable },
      'nvram-template': { filename: `${executable}.vars` },
    },
    targets: [{ architecture: 'x86_64', machines: ['pc-q35-*'] }],
    features,
    ...change,
  })
  return { path: `/usr/share/qemu/firmware/${executable}.json`, text }
}

const keys = image('ms', ['enrolled-keys', 'requires-smm', 'secure-boot'])
const noKeys = image('secboot', ['requires-smm', 'secure-boot'])
const plain = image('plain', ['acpi-s3'])
const all = describeFirmware([keys, noKeys, plain], () => true)

test('a VM gets the first image that fits: one with keys for secure boot, else one that needs no SMM', () => {
  assert.equal(chooseFirmware(all, { machine, secureBoot: true })?.executable, 'ms')
  assert.deepEqual(chooseFirmware(all, { machine, secureBoot: false }), {
    executable: 'plain',
    template: 'plain.vars',
  })
})

test('an image of another machine, another architecture or without its files is none', () => {
  const others = [
    image('i440fx', [], { targets: [{ architecture: 'x86_64', machines: ['pc-i440fx-*'] }] }),
    image('arm', [], { targets: [{ architecture: 'aarch64', machines: ['*'] }] }),
    image('bios', [], { 'interface-types': ['bios'] }),
    image('stateless', [], { mapping: { device: 'memory', filename: 'stateless' } }),
  ]
  assert.equal(
    chooseFirmware(
      describeFirmware(others, () => true),
      { machine, secureBoot: false },
    ),
    undefined,
  )
  const absent = describeFirmware([plain], () => false)
  assert.equal(chooseFirmware(absent, { machine, secureBoot: false }), undefined)
})

test('a VM that has been booted stays with its image, which its variables fit', () => {
  const mine = describeFirmware([plain, image('newer', [])].toReversed(), () => true)
  assert.equal(chooseFirmware(mine, { machine, secureBoot: false })?.executable, 'newer')
  assert.equal(chooseFirmware(mine, { machine, secureBoot: false, executable: 'plain' })?.executable, 'plain')
  assert.equal(chooseFirmware(all, { machine, secureBoot: false, executable: 'gone' }), undefined)
})
