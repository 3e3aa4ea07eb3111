import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import { writeFat16 } from './fat.ts'
import { backupSectors, partitionTypes, writeGpt } from './gpt.ts'
import { grubBootCode, grubCore } from './grub.ts'

const guid = '00112233-4455-8677-a899-aabbccddeeff'
const partition = { number: 1, type: partitionTypes.efiSystem, guid, name: 'esp', first: 2048, last: 4095 }
const disk = { sectors: 8192, guid, bootCode: Buffer.alloc(440, 0x90), partitions: [partition] }

test('both copies of the table have right checksums and name each other', () => {
  const { start, end } = writeGpt(disk)
  const primary = Buffer.from(start.subarray(512, 1024))
  const backup = Buffer.from(end.subarray(end.length - 512))

  for (const header of [primary, backup]) {
    const checksum = header.readUInt32LE(16)
    header.writeUInt32LE(0, 16)
    assert.equal(crc32(header.subarray(0, 92)), checksum)
    assert.equal(header.readUInt32LE(88), crc32(start.subarray(1024)))
  }
  assert.equal(primary.readBigUInt64LE(32), 8191n)
  assert.equal(backup.readBigUInt64LE(24), 8191n)
  assert.equal(backup.readBigUInt64LE(72), BigInt(8192 - backupSectors))
})

test('a GUID is stored with its first three fields turned round', () => {
  const { start } = writeGpt(disk)

  assert.equal(
    Buffer.from(start.subarray(1024 + 16, 1024 + 32)).toString('hex'),
    '33221100554477 86a899aabbccddeeff'.replace(' ', ''),
  )
})

test('partitions that overlap the table, each other or the end are refused', () => {
  const withPartitions = (...partitions: readonly Partial<typeof partition>[]): unknown =>
    writeGpt({ ...disk, partitions: partitions.map((change) => ({ ...partition, ...change })) })

  assert.throws(() => withPartitions({ first: 10 }), RangeError)
  assert.throws(() => withPartitions({}, { number: 2, first: 4000, last: 5000 }), RangeError)
  assert.throws(() => withPartitions({ last: 8180 }), RangeError)
})

test('a file of the FAT volume is found through root, directories and chain', () => {
  const content = Buffer.alloc(10_000, 'kernel')
  const image = Buffer.from(
    writeFat16({
      sizeBytes: 32 * 2 ** 20,
      label: 'KVASIR-ESP',
      serial: 1,
      files: [{ path: 'EFI/BOOT/BOOTX64.EFI', content }],
    }),
  )
  const fatAt = image.readUInt16LE(14) * 512
  const rootAt = fatAt + 2 * image.readUInt16LE(22) * 512
  const dataAt = rootAt + image.readUInt16LE(17) * 32
  const clusterBytes = (image[13] ?? 0) * 512
  const clusterAt = (cluster: number): number => dataAt + (cluster - 2) * clusterBytes
  const find = (table: number, name: string): number => {
    for (let at = table; image[at] !== 0; at += 32)
      if (image.toString('latin1', at, at + 11) === name) return at
    throw new Error(`${name} is not there.`)
  }

  const efi = find(rootAt, 'EFI        ')
  const boot = find(clusterAt(image.readUInt16LE(efi + 26)), 'BOOT       ')
  const file = find(clusterAt(image.readUInt16LE(boot + 26)), 'BOOTX64 EFI')
  const parts: Buffer[] = []
  for (
    let cluster = image.readUInt16LE(file + 26);
    cluster < 0xfff8;
    cluster = image.readUInt16LE(fatAt + cluster * 2)
  ) {
    parts.push(image.subarray(clusterAt(cluster), clusterAt(cluster) + clusterBytes))
  }
  assert.ok(
    Buffer.concat(parts)
      .subarray(0, image.readUInt32LE(file + 28))
      .equals(content),
  )
})

test('what does not fit on the FAT volume or has a long name is refused', () => {
  const write = (path: string, bytes: number): Uint8Array =>
    writeFat16({
      sizeBytes: 16 * 2 ** 20,
      label: 'ESP',
      serial: 1,
      files: [{ path, content: Buffer.alloc(bytes) }],
    })

  assert.throws(() => write('A', 17 * 2 ** 20), RangeError)
  assert.throws(() => write('TOOLONGNAME', 1), RangeError)
  assert.throws(() => write('../A', 1), RangeError)
})

test("GRUB's stages are told where they lie and refused where they have no room", () => {
  const code = Buffer.from(grubBootCode(Buffer.alloc(512, 1), 2048))
  const core = Buffer.from(grubCore(Buffer.alloc(1500, 2), { sector: 2048, roomSectors: 2048 }))

  assert.equal(code.length, 440)
  assert.equal(code.readBigUInt64LE(0x5c), 2048n)
  assert.equal(core.length, 1536)
  assert.equal(core.readBigUInt64LE(0x1f4), 2049n)
  assert.equal(core.readUInt16LE(0x1fc), 2)
  assert.throws(() => grubCore(Buffer.alloc(2_000_000), { sector: 2048, roomSectors: 2048 }), RangeError)
  assert.throws(() => grubBootCode(Buffer.alloc(100), 1), RangeError)
})
