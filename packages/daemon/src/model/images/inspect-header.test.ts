import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { decideFormat, type HeaderFinding, inspectHeader, maximumVirtualBytes } from './inspect-header.ts'

interface Qcow2 {
  readonly version?: number
  readonly backingOffset?: bigint
  readonly size?: bigint
  readonly features?: bigint
  readonly encryption?: number
  readonly extension?: number
}

function qcow2(fields: Qcow2 = {}): Buffer {
  const bytes = Buffer.alloc(4096)
  bytes.write('QFI\xfb', 'latin1')
  bytes.writeUInt32BE(fields.version ?? 3, 4)
  bytes.writeBigUInt64BE(fields.backingOffset ?? 0n, 8)
  bytes.writeUInt32BE(16, 20)
  bytes.writeBigUInt64BE(fields.size ?? 1n << 30n, 24)
  bytes.writeUInt32BE(fields.encryption ?? 0, 32)
  bytes.writeBigUInt64BE(fields.features ?? 0n, 72)
  bytes.writeUInt32BE(104, 100)
  if (fields.extension !== undefined) {
    bytes.writeUInt32BE(fields.extension, 104)
    bytes.writeUInt32BE(5, 108)
  }
  return bytes
}

function vmdk(descriptor: string, sectors = 2048n): Buffer {
  const bytes = Buffer.alloc(65536)
  bytes.write('KDMV')
  bytes.writeUInt32LE(1, 4)
  bytes.writeBigUInt64LE(sectors, 12)
  bytes.writeBigUInt64LE(1n, 28)
  bytes.writeBigUInt64LE(20n, 36)
  bytes.write(descriptor, 512)
  return bytes
}

function reasonOf(finding: HeaderFinding): string {
  return finding.kind === 'refused' ? finding.reason : finding.kind
}

test('a plain qcow2 image is accepted with the size it shows a guest', () => {
  assert.deepEqual(inspectHeader(qcow2()), { kind: 'image', format: 'qcow2', virtualSizeBytes: 2 ** 30 })
})

test('a qcow2 image that refers to another file is refused', () => {
  assert.match(reasonOf(inspectHeader(qcow2({ backingOffset: 512n }))), /backing file/)
  assert.match(reasonOf(inspectHeader(qcow2({ features: 4n }))), /external data file/)
  assert.match(reasonOf(inspectHeader(qcow2({ extension: 0x44415441 }))), /external data file/)
  assert.match(reasonOf(inspectHeader(qcow2({ extension: 0xe2792aca }))), /backing file/)
})

test('a qcow2 image that is encrypted, corrupt, of the future or absurdly large is refused', () => {
  assert.match(reasonOf(inspectHeader(qcow2({ encryption: 1 }))), /encrypted/)
  assert.match(reasonOf(inspectHeader(qcow2({ features: 2n }))), /corrupt/)
  assert.match(reasonOf(inspectHeader(qcow2({ features: 64n }))), /not known/)
  assert.match(reasonOf(inspectHeader(qcow2({ version: 4 }))), /version 4/)
  assert.match(reasonOf(inspectHeader(qcow2({ size: BigInt(maximumVirtualBytes) + 1n }))), /larger/)
  assert.match(reasonOf(inspectHeader(qcow2({ size: 0n }))), /no bytes/)
  assert.match(reasonOf(inspectHeader(qcow2().subarray(0, 60))), /ends within its header/)
})

test('a VMDK with its disk in itself is accepted, one with it elsewhere is refused', () => {
  const own = 'version=1\nparentCID=ffffffff\ncreateType="monolithicSparse"\nRW 2048 SPARSE "a.vmdk"\n'
  assert.equal(inspectHeader(vmdk(own)).kind, 'image')

  assert.match(reasonOf(inspectHeader(vmdk('RW 2048 FLAT "/etc/shadow" 0\n'))), /other files/)
  assert.match(reasonOf(inspectHeader(vmdk('RW 2048 SPARSE "/etc/shadow"\n'))), /other files/)
  assert.match(reasonOf(inspectHeader(vmdk(`${own}RW 2048 SPARSE "b.vmdk"\n`))), /other files/)
  assert.match(reasonOf(inspectHeader(vmdk(own.replace('ffffffff', '12345678')))), /parent/)
  assert.match(reasonOf(inspectHeader(vmdk(own, 0n))), /described by other files/)
  assert.match(reasonOf(inspectHeader(Buffer.from('# Disk DescriptorFile\nversion=1\n'))), /descriptor/)
})

test('a difference of VDI is refused and a dynamic one accepted', () => {
  const vdi = (type: number): Buffer => {
    const bytes = Buffer.alloc(512)
    bytes.writeUInt32LE(0xbeda107f, 64)
    bytes.writeUInt32LE(type, 0x4c)
    bytes.writeBigUInt64LE(1n << 20n, 0x170)
    return bytes
  }
  assert.deepEqual(inspectHeader(vdi(1)), { kind: 'image', format: 'vdi', virtualSizeBytes: 2 ** 20 })
  assert.match(reasonOf(inspectHeader(vdi(4))), /difference/)
})

test('what is known and no disk is named', () => {
  assert.match(reasonOf(inspectHeader(Buffer.from('\x1f\x8b\x08', 'latin1'))), /gzip/)
  assert.match(reasonOf(inspectHeader(Buffer.from('<!DOCTYPE html>'))), /text/)
  assert.match(reasonOf(inspectHeader(Buffer.from('{"driver":"raw"}'))), /text/)
})

test('raw is never guessed and never used for what is something else', () => {
  const unknown: HeaderFinding = { kind: 'unknown' }
  const decide = (
    requested: 'raw' | 'qcow2' | undefined,
    finding: HeaderFinding,
    sizeBytes = 1024,
  ): string => {
    const decision = decideFormat({ requested, finding, sizeBytes })
    return decision.kind === 'accepted' ? decision.format : decision.reason
  }

  assert.equal(decide('raw', unknown), 'raw')
  assert.match(decide(undefined, unknown), /say so/)
  assert.match(decide('qcow2', unknown), /not a qcow2 image/)
  assert.match(decide('raw', inspectHeader(qcow2())), /is a qcow2 image, not a raw one/)
  assert.match(decide('raw', unknown, 1000), /sectors/)
  assert.match(decide('raw', unknown, 0), /empty/)
  assert.match(decide('raw', unknown, 2 ** 50), /larger/)
  const end = Buffer.alloc(512)
  end.write('conectix')
  const vhd = decideFormat({ requested: 'raw', finding: unknown, sizeBytes: 4096, end })
  assert.match(vhd.kind === 'refused' ? vhd.reason : '', /a VHD image of fixed size: its last 512 bytes/)
})

test('no bytes make the inspection throw, and none that refer to a file pass', () => {
  const magics = ['QFI\xfb\0\0\0\x03', 'QFI\xfb\0\0\0\x02', 'KDMV', 'vhdxfile', '']
  fc.assert(
    fc.property(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 700 }), (magic, rest) => {
      const bytes = Buffer.concat([Buffer.from(magic, 'latin1'), rest])
      const finding = inspectHeader(bytes)
      if (finding.kind === 'image' && finding.format === 'qcow2') assert.equal(bytes.readBigUInt64BE(8), 0n)
    }),
    { numRuns: fuzzRuns(500) },
  )
})
