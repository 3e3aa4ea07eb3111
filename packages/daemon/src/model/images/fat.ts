/**
 * Writes a FAT16 file system (Microsoft, "FAT: General Overview of On-Disk Format" 1.03; ECMA-107) with a few files in directories: an EFI
 * system partition.
 *
 * Names are of the plain 8.3 kind. Nothing is fragmented: every file and directory lies in one run.
 */

const sectorBytes = 512
const sectorsPerCluster = 4
const clusterBytes = sectorBytes * sectorsPerCluster
const reservedSectors = 1
const fatCopies = 2
const rootEntries = 512
const rootSectors = (rootEntries * 32) / sectorBytes
/** The cluster counts between which a FAT has 16 bits. */
const clusterRange = { least: 4085, most: 65_524 } as const
const endOfChain = 0xffff
const directoryAttribute = 0x10
const labelAttribute = 0x08

/** A file by its path, such as `EFI/BOOT/BOOTX64.EFI`. */
export interface FatFile {
  readonly path: string
  readonly content: Uint8Array
}

/** A volume: its size (a multiple of 512 bytes), its label (up to 11 capitals and digits), its number, its files. */
export interface FatVolume {
  readonly sizeBytes: number
  readonly label: string
  readonly serial: number
  readonly files: readonly FatFile[]
}

interface Directory {
  readonly entries: Map<string, Directory | Uint8Array>
}

/** Writes the whole volume. Throws a RangeError for a name that is not 8.3, and for files that do not fit. */
export function writeFat16(volume: FatVolume): Uint8Array {
  const geometry = geometryOf(volume.sizeBytes)
  const image = Buffer.alloc(volume.sizeBytes)
  image.set(bootSector(volume, geometry))
  const writer: Writer = { image, geometry, next: 2, fat: Buffer.alloc(geometry.fatSectors * sectorBytes) }
  writer.fat.writeUInt16LE(0xfff8, 0)
  writer.fat.writeUInt16LE(endOfChain, 2)

  const root = Buffer.alloc(rootEntries * 32)
  root.set(entry({ name: volume.label.padEnd(11), attribute: labelAttribute, cluster: 0, bytes: 0 }))
  fillDirectory(root.subarray(32), { directory: treeOf(volume.files), writer, self: 0 })
  const rootAt = (reservedSectors + fatCopies * geometry.fatSectors) * sectorBytes
  image.set(root, rootAt)
  for (let copy = 0; copy < fatCopies; copy++) {
    image.set(writer.fat, (reservedSectors + copy * geometry.fatSectors) * sectorBytes)
  }
  return image
}

interface Geometry {
  readonly sectors: number
  readonly fatSectors: number
  readonly clusters: number
  readonly dataAt: number
}

function geometryOf(sizeBytes: number): Geometry {
  const sectors = sizeBytes / sectorBytes
  const mostClusters = Math.floor((sectors - reservedSectors - rootSectors) / sectorsPerCluster)
  const fatSectors = Math.ceil(((mostClusters + 2) * 2) / sectorBytes)
  const dataSector = reservedSectors + fatCopies * fatSectors + rootSectors
  const clusters = Math.floor((sectors - dataSector) / sectorsPerCluster)
  const fits = clusters >= clusterRange.least && clusters <= clusterRange.most
  if (!Number.isInteger(sectors) || !fits)
    throw new RangeError(`A FAT16 volume cannot have ${sizeBytes} bytes.`)
  return { sectors, fatSectors, clusters, dataAt: dataSector * sectorBytes }
}

function bootSector(volume: FatVolume, geometry: Geometry): Buffer {
  const bytes = Buffer.alloc(sectorBytes)
  bytes.set([0xeb, 0x3c, 0x90])
  bytes.write('KVASIR  ', 3)
  bytes.writeUInt16LE(sectorBytes, 11)
  bytes[13] = sectorsPerCluster
  bytes.writeUInt16LE(reservedSectors, 14)
  bytes[16] = fatCopies
  bytes.writeUInt16LE(rootEntries, 17)
  if (geometry.sectors < 65_536) bytes.writeUInt16LE(geometry.sectors, 19)
  else bytes.writeUInt32LE(geometry.sectors, 32)
  bytes[21] = 0xf8
  bytes.writeUInt16LE(geometry.fatSectors, 22)
  bytes.writeUInt16LE(32, 24)
  bytes.writeUInt16LE(64, 26)
  bytes[36] = 0x80
  bytes[38] = 0x29
  bytes.writeUInt32LE(volume.serial >>> 0, 39)
  bytes.write(volume.label.padEnd(11), 43)
  bytes.write('FAT16   ', 54)
  bytes.set([0x55, 0xaa], 510)
  return bytes
}

function treeOf(files: readonly FatFile[]): Directory {
  const root: Directory = { entries: new Map() }
  for (const { path, content } of files) {
    const names = path.split('/')
    const last = names.pop() ?? ''
    let directory = root
    for (const name of names) {
      const found = directory.entries.get(name) ?? { entries: new Map<string, Directory | Uint8Array>() }
      if (found instanceof Uint8Array) throw new RangeError(`${name} is a file and a directory.`)
      directory.entries.set(name, found)
      directory = found
    }
    directory.entries.set(last, content)
  }
  return root
}

interface Writer {
  readonly image: Buffer
  readonly geometry: Geometry
  readonly fat: Buffer
  next: number
}

function fillDirectory(
  table: Buffer,
  place: { readonly directory: Directory; readonly writer: Writer; readonly self: number },
): void {
  let at = 0
  for (const [name, content] of place.directory.entries) {
    if (at + 32 > table.length) throw new RangeError('A directory has too many entries.')
    const isFile = content instanceof Uint8Array
    const cluster = isFile ? writeRun(place.writer, content) : writeDirectory(place, content)
    const attribute = isFile ? 0 : directoryAttribute
    table.set(entry({ name: shortName(name), attribute, cluster, bytes: isFile ? content.length : 0 }), at)
    at += 32
  }
}

function writeDirectory(
  parent: { readonly writer: Writer; readonly self: number },
  directory: Directory,
): number {
  const { writer } = parent
  const table = Buffer.alloc(clusterBytes)
  const self = allocate(writer, clusterBytes)
  const attribute = directoryAttribute
  table.set(entry({ name: '.'.padEnd(11), attribute, cluster: self, bytes: 0 }), 0)
  table.set(entry({ name: '..'.padEnd(11), attribute, cluster: parent.self, bytes: 0 }), 32)
  fillDirectory(table.subarray(64), { directory, writer, self })
  writer.image.set(table, offsetOf(writer, self))
  return self
}

function writeRun(writer: Writer, content: Uint8Array): number {
  if (content.length === 0) return 0
  const first = allocate(writer, content.length)
  writer.image.set(content, offsetOf(writer, first))
  return first
}

function allocate(writer: Writer, bytes: number): number {
  const first = writer.next
  const count = Math.ceil(bytes / clusterBytes)
  if (first + count > writer.geometry.clusters + 2)
    throw new RangeError('The files do not fit on the volume.')
  for (let cluster = first; cluster < first + count; cluster++) {
    writer.fat.writeUInt16LE(cluster === first + count - 1 ? endOfChain : cluster + 1, cluster * 2)
  }
  writer.next += count
  return first
}

function offsetOf(writer: Writer, cluster: number): number {
  return writer.geometry.dataAt + (cluster - 2) * clusterBytes
}

function shortName(name: string): string {
  const match = /^([A-Z0-9_-]{1,8})(?:\.([A-Z0-9_-]{1,3}))?$/.exec(name)
  if (match === null) throw new RangeError(`${name} is no 8.3 name.`)
  return `${(match[1] ?? '').padEnd(8)}${(match[2] ?? '').padEnd(3)}`
}

interface EntryFields {
  readonly name: string
  readonly attribute: number
  readonly cluster: number
  readonly bytes: number
}

/** A directory entry; its dates are the format's first day, 1 January 1980. */
function entry(fields: EntryFields): Buffer {
  const bytes = Buffer.alloc(32)
  bytes.write(fields.name, 'latin1')
  bytes[11] = fields.attribute
  for (const offset of [16, 18, 24]) bytes.writeUInt16LE((1 << 5) | 1, offset)
  bytes.writeUInt16LE(fields.cluster, 26)
  bytes.writeUInt32LE(fields.bytes, 28)
  return bytes
}
