/**
 * Writes a small ISO 9660 file system with Joliet names (ECMA-119; Joliet Specification, Microsoft 1995): one directory, a few
 * files. It is what a NoCloud seed is carried on.
 *
 * Every file is there twice by name and once by content: under a plain ISO name for the primary volume, and under its own name for
 * Joliet, which Linux, the BSDs and Windows prefer. The same files and time give the same bytes.
 *
 * Not here: what the files say (cloud-init.ts). No subdirectories, no Rock Ridge, no boot record.
 */

const sectorBytes = 2048
const maximumImageBytes = 64 * 1024 * 1024
/** Joliet allows 64 characters; a name longer than that would be cut by readers. */
const maximumNameLength = 64

/** One file in the root directory. */
export interface IsoFile {
  readonly name: string
  readonly content: Uint8Array
}

/** A volume to write: its label (1 to 16 letters, digits, `_` or `-`), its files, the time they all carry. */
export interface IsoVolume {
  readonly label: string
  readonly files: readonly IsoFile[]
  readonly time: Date
}

const layout = {
  primaryDescriptor: 16,
  jolietDescriptor: 17,
  terminator: 18,
  primaryPathTableLittle: 19,
  primaryPathTableBig: 20,
  jolietPathTableLittle: 21,
  jolietPathTableBig: 22,
  primaryRoot: 23,
  jolietRoot: 24,
  firstFile: 25,
} as const

interface PlacedFile {
  readonly file: IsoFile
  readonly sector: number
}

/** Writes the file system; throws a RangeError for names that are not plain, come twice, or do not fit into one directory sector. */
export function writeIso9660(volume: IsoVolume): Uint8Array {
  checkVolume(volume)
  const placed = placeFiles(volume.files)
  const sectors = layout.firstFile + placed.reduce((sum, { file }) => sum + sectorsOf(file.content.length), 0)
  if (sectors * sectorBytes > maximumImageBytes) {
    throw new RangeError(`The files of ${volume.label} take more than ${maximumImageBytes} bytes.`)
  }
  const image = Buffer.alloc(sectors * sectorBytes)
  const put = (sector: number, bytes: Uint8Array): void => image.set(bytes, sector * sectorBytes)

  put(layout.primaryDescriptor, descriptor('primary', { volume, sectors }))
  put(layout.jolietDescriptor, descriptor('joliet', { volume, sectors }))
  put(layout.terminator, Buffer.concat([Buffer.from([255]), Buffer.from('CD001'), Buffer.from([1])]))
  put(layout.primaryPathTableLittle, pathTable(layout.primaryRoot, 'little'))
  put(layout.primaryPathTableBig, pathTable(layout.primaryRoot, 'big'))
  put(layout.jolietPathTableLittle, pathTable(layout.jolietRoot, 'little'))
  put(layout.jolietPathTableBig, pathTable(layout.jolietRoot, 'big'))
  put(layout.primaryRoot, rootDirectory('primary', { placed, time: volume.time }))
  put(layout.jolietRoot, rootDirectory('joliet', { placed, time: volume.time }))
  for (const { file, sector } of placed) put(sector, file.content)
  return image
}

type NameForm = 'primary' | 'joliet'

function checkVolume(volume: IsoVolume): void {
  if (!/^[A-Za-z0-9_-]{1,16}$/.test(volume.label)) {
    throw new RangeError(`${JSON.stringify(volume.label)} is not a volume label of 1 to 16 plain characters.`)
  }
  const plain = new RegExp(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,${maximumNameLength - 1}}$`)
  for (const { name } of volume.files) {
    if (!plain.test(name)) throw new RangeError(`${JSON.stringify(name)} is not a plain file name.`)
  }
  const names = new Set(volume.files.map(({ name }) => primaryName(name)))
  if (names.size < volume.files.length) throw new RangeError('Two files of the volume would have one name.')
}

function placeFiles(files: readonly IsoFile[]): readonly PlacedFile[] {
  let sector: number = layout.firstFile
  return files.map((file) => {
    const here = sector
    sector += sectorsOf(file.content.length)
    return { file, sector: here }
  })
}

function sectorsOf(bytes: number): number {
  return Math.ceil(bytes / sectorBytes)
}

/** The name in the primary volume: capitals, digits and `_`, one dot, a version (ECMA-119 7.5, level 2: 31 characters). */
function primaryName(name: string): string {
  const dot = name.lastIndexOf('.')
  const stem = dot > 0 ? name.slice(0, dot) : name
  const extension = dot > 0 ? name.slice(dot + 1) : ''
  const plain = (text: string): string => text.toUpperCase().replace(/[^A-Z0-9_]/g, '_')
  return `${plain(stem).slice(0, 20)}.${plain(extension).slice(0, 8)};1`
}

function encodedName(name: string, form: NameForm): Buffer {
  return form === 'primary' ? Buffer.from(primaryName(name), 'latin1') : ucs2(name)
}

function ucs2(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16()
}

function descriptor(
  form: NameForm,
  { volume, sectors }: { readonly volume: IsoVolume; readonly sectors: number },
): Buffer {
  const joliet = form === 'joliet'
  const bytes = Buffer.alloc(sectorBytes)
  const text = (value: string, offset: number, length: number): void => {
    const field = joliet ? ucs2(' '.repeat(length / 2)) : Buffer.alloc(length, ' ')
    const encoded = joliet ? ucs2(value) : Buffer.from(value, 'latin1')
    bytes.set(field, offset)
    bytes.set(encoded.subarray(0, length), offset)
  }
  bytes[0] = joliet ? 2 : 1
  bytes.write('CD001', 1, 'latin1')
  bytes[6] = 1
  text('LINUX', 8, 32)
  text(volume.label, 40, 32)
  bothEndian32(bytes, 80, sectors)
  if (joliet) bytes.write('%/E', 88, 'latin1') // UCS-2 level 3
  bothEndian16(bytes, 120, 1)
  bothEndian16(bytes, 124, 1)
  bothEndian16(bytes, 128, sectorBytes)
  bothEndian32(bytes, 132, pathTableBytes)
  bytes.writeUInt32LE(joliet ? layout.jolietPathTableLittle : layout.primaryPathTableLittle, 140)
  bytes.writeUInt32BE(joliet ? layout.jolietPathTableBig : layout.primaryPathTableBig, 148)
  const root = joliet ? layout.jolietRoot : layout.primaryRoot
  bytes.set(
    record({ sector: root, bytes: sectorBytes, directory: true, name: Buffer.from([0]) }, volume.time),
    156,
  )
  for (const [offset, length] of [
    [190, 128], // volume set
    [318, 128], // publisher
    [446, 128], // preparer
    [574, 128], // application
    [702, 36], // copyright file
    [740, 36], // abstract file
    [776, 36], // bibliographic file
  ] as const) {
    text('', offset, length)
  }
  for (const offset of [813, 830]) bytes.set(longTime(volume.time), offset) // created, modified
  for (const offset of [847, 864]) bytes.set(Buffer.concat([Buffer.alloc(16, '0'), Buffer.from([0])]), offset)
  bytes[881] = 1
  return bytes
}

const pathTableBytes = 10

function pathTable(root: number, order: 'little' | 'big'): Buffer {
  const table = Buffer.alloc(pathTableBytes)
  table[0] = 1
  if (order === 'little') {
    table.writeUInt32LE(root, 2)
    table.writeUInt16LE(1, 6)
  } else {
    table.writeUInt32BE(root, 2)
    table.writeUInt16BE(1, 6)
  }
  return table
}

function rootDirectory(
  form: NameForm,
  { placed, time }: { readonly placed: readonly PlacedFile[]; readonly time: Date },
): Buffer {
  const self = form === 'primary' ? layout.primaryRoot : layout.jolietRoot
  const own = [Buffer.from([0]), Buffer.from([1])].map((name) =>
    record({ sector: self, bytes: sectorBytes, directory: true, name }, time),
  )
  const files = placed
    .map(({ file, sector }) => ({ file, sector, name: encodedName(file.name, form) }))
    .toSorted((a, b) => Buffer.compare(a.name, b.name))
    .map(({ file, sector, name }) =>
      record({ sector, bytes: file.content.length, directory: false, name }, time),
    )
  const directory = Buffer.concat([...own, ...files])
  if (directory.length > sectorBytes) throw new RangeError('The files do not fit into one directory sector.')
  return directory
}

interface RecordFields {
  readonly sector: number
  readonly bytes: number
  readonly directory: boolean
  readonly name: Buffer
}

/** A directory record (ECMA-119 9.1); its length is even. */
function record(fields: RecordFields, time: Date): Buffer {
  const length = 33 + fields.name.length
  const bytes = Buffer.alloc(length + (length % 2))
  bytes[0] = bytes.length
  bothEndian32(bytes, 2, fields.sector)
  bothEndian32(bytes, 10, fields.bytes)
  bytes.set(
    [
      time.getUTCFullYear() - 1900,
      time.getUTCMonth() + 1,
      time.getUTCDate(),
      time.getUTCHours(),
      time.getUTCMinutes(),
      time.getUTCSeconds(),
      0, // offset from GMT
    ],
    18,
  )
  bytes[25] = fields.directory ? 2 : 0
  bothEndian16(bytes, 28, 1)
  bytes[32] = fields.name.length
  bytes.set(fields.name, 33)
  return bytes
}

/** A time in the 17 bytes of a volume descriptor (ECMA-119 8.4.26.1). */
function longTime(time: Date): Buffer {
  const digits = time.toISOString().replace(/\D/g, '').slice(0, 14)
  return Buffer.concat([Buffer.from(`${digits}00`, 'latin1'), Buffer.from([0])])
}

function bothEndian32(bytes: Buffer, offset: number, value: number): void {
  bytes.writeUInt32LE(value, offset)
  bytes.writeUInt32BE(value, offset + 4)
}

function bothEndian16(bytes: Buffer, offset: number, value: number): void {
  bytes.writeUInt16LE(value, offset)
  bytes.writeUInt16BE(value, offset + 2)
}
