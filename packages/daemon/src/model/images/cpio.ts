/**
 * Writes a cpio archive in the `newc` form, which is what the Linux kernel unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel tree).
 *
 * The same entries always give the same bytes: inodes count up, times are zero, everything belongs to root. Device
 * nodes and owners are plain entries, so nobody has to be root to write one.
 *
 * Not here: where the contents come from (host/images), and compression.
 */

/** One member of an archive; `path` is relative to the root of the archive, `mode` holds permission bits only. */
export type CpioEntry =
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly kind: 'character-device'
      readonly path: string
      readonly mode: number
      readonly major: number
      readonly minor: number
    }

const typeBits = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  'character-device': 0o020000,
} as const

const alignment = 4
const maximumFileBytes = 0xffff_ffff

/**
 * Writes the entries in their order, the parents of each before it where the caller left them out, and the trailer.
 * Throws a RangeError for a path that is absolute, climbs, or comes twice, since the kernel would unpack it elsewhere.
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Buffer[] = []
  let inode = 1
  for (const entry of withParents(entries)) parts.push(...member(entry, inode++))
  parts.push(...record('TRAILER!!!', { inode: 0, mode: 0, links: 1, major: 0, minor: 0 }, Buffer.alloc(0)))
  return Buffer.concat(parts)
}

function withParents(entries: readonly CpioEntry[]): readonly CpioEntry[] {
  const written = new Set<string>()
  const all: CpioEntry[] = []
  for (const entry of entries) {
    const names = checkedNames(entry.path)
    for (let depth = 1; depth < names.length; depth++) {
      const parent = names.slice(0, depth).join('/')
      if (!written.has(parent)) all.push({ kind: 'directory', path: parent, mode: 0o755 })
      written.add(parent)
    }
    if (written.has(entry.path) && entry.kind === 'directory') continue
    if (written.has(entry.path)) throw new RangeError(`The archive would hold ${entry.path} twice.`)
    written.add(entry.path)
    all.push(entry)
  }
  return all
}

function checkedNames(path: string): readonly string[] {
  const names = path.split('/')
  const bad = names.some((name) => name === '' || name === '.' || name === '..' || name.includes('\0'))
  if (bad || path === 'TRAILER!!!')
    throw new RangeError(`${JSON.stringify(path)} is not a path inside an archive.`)
  return names
}

function member(entry: CpioEntry, inode: number): readonly Buffer[] {
  const type = typeBits[entry.kind]
  const none = Buffer.alloc(0)
  switch (entry.kind) {
    case 'directory':
      return record(entry.path, { inode, mode: type | entry.mode, links: 2, major: 0, minor: 0 }, none)
    case 'file':
      return record(
        entry.path,
        { inode, mode: type | entry.mode, links: 1, major: 0, minor: 0 },
        entry.content,
      )
    case 'symlink':
      return record(
        entry.path,
        { inode, mode: type | 0o777, links: 1, major: 0, minor: 0 },
        Buffer.from(entry.target),
      )
    case 'character-device':
      return record(
        entry.path,
        { inode, mode: type | entry.mode, links: 1, major: entry.major, minor: entry.minor },
        none,
      )
  }
}

interface RecordHead {
  readonly inode: number
  readonly mode: number
  readonly links: number
  readonly major: number
  readonly minor: number
}

function record(path: string, head: RecordHead, content: Uint8Array): readonly Buffer[] {
  if (content.length > maximumFileBytes) throw new RangeError(`${path} is too large for a cpio archive.`)
  const name = Buffer.from(`${path}\0`)
  const fields = [
    head.inode,
    head.mode,
    0, // uid
    0, // gid
    head.links,
    0, // mtime
    content.length,
    0, // device the file was on
    0,
    head.major,
    head.minor,
    name.length,
    0, // checksum: not used by this form
  ]
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
  return [padded(Buffer.concat([Buffer.from(header), name])), padded(Buffer.from(content))]
}

function padded(bytes: Buffer): Buffer {
  const missing = (alignment - (bytes.length % alignment)) % alignment
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)])
}
