import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { planHardware } from '../pci/allocate.ts'
import type { ProtocolSource } from '../storage/volume-source.ts'
import { buildEmulator } from './build-emulator.ts'
import { planDisk } from './disk.ts'
import type { HardwareInput } from './hardware.ts'
import { isOfDisk, isSecretObject } from './ids.ts'

const source: ProtocolSource = {
  kind: 'protocol',
  driver: 'rbd',
  options: { pool: 'rbd', image: 'volume', server: [{ host: '127.0.0.1', port: '6789' }] },
  secret: { option: 'key-secret', secretId: 's1', format: 'base64' },
  format: 'raw',
  reach: [],
}

function inputFor(disk: string): HardwareInput {
  const spec = vmSpec.parse({ disks: [{ name: disk, size: '1GiB' }] })
  const qemu = { version: [7, 2, 22], machines: ['pc-q35-7.2'] } as const
  return {
    name: 'web1',
    uuid: '3c4f9f6a-7e43-4b0e-9d55-0c8a1f6f2b10',
    spec,
    hardware: planHardware(spec, undefined, { qemu, vsockCid: 4242 }),
    accelerator: 'tcg',
    qemu,
    disks: [{ disk, chain: [source] }],
    kernel: undefined,
    seedPath: undefined,
    vsock: false,
    restorePath: undefined,
  }
}

test('a disk that QEMU speaks to itself is an object with its secret, then the node that names it', () => {
  const { argv, secrets, descriptors } = buildEmulator(inputFor('data'))

  const at = argv.findIndex((word) => word.includes('"driver":"rbd"'))
  const [option, object = '', , node = ''] = argv.slice(at - 3, at + 1)
  assert.equal(option, '-object')
  assert.deepEqual(JSON.parse(object), {
    'qom-type': 'secret',
    id: 'sec.file-data',
    format: 'base64',
    file: '/run/vm/sec.file-data',
  })
  assert.equal(JSON.parse(node)['key-secret'], 'sec.file-data')
  assert.deepEqual(JSON.parse(node).server, [{ host: '127.0.0.1', port: '6789' }])
  assert.deepEqual(secrets, [{ object: 'sec.file-data', secretId: 's1', format: 'base64' }])
  assert.equal(
    descriptors.some(({ kind }) => kind === 'file'),
    false,
  )
})

test('the same disk is plugged with the same object, which is told to be of that disk', () => {
  for (const name of ['data', 'a-very-long-name-of-a-disk']) {
    const [file] = planDisk(inputFor(name), name).nodes

    assert.ok(file?.secret && isSecretObject(file.secret.object) && isOfDisk(file.secret.object, name))
    assert.equal(isOfDisk(file.secret.object, 'other'), false)
  }
})
