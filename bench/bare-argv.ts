/**
 * A running emulator's argv, changed as little as it takes to run outside of its cage: paths of the cage become paths of the host, and
 * listening sockets become connected ones at the same descriptors. Devices, memory, accelerator and sandbox stay what they are.
 */

/** A descriptor that the argv names. */
export interface NamedDescriptor {
  readonly fd: number
  /** `socket` for a character device, `nic` for the end of a connected socket, else the label that the argv gives to a file. */
  readonly kind: 'socket' | 'nic' | 'file'
  readonly label: string
}

export interface BareArgv {
  readonly argv: readonly string[]
  readonly descriptors: readonly NamedDescriptor[]
}

/** Adapts an argv. `places` are pairs of a path in the cage and one of the host. */
export function bareArgv(argv: readonly string[], places: Readonly<Record<string, string>>): BareArgv {
  const adapted = argv.map((word) => connected(relocated(word, places)))
  const descriptors = adapted.flatMap((word, at) => describe(adapted[at - 1], word))
  return { argv: adapted, descriptors }
}

function relocated(word: string, places: Readonly<Record<string, string>>): string {
  return Object.entries(places).reduce((text, [inside, outside]) => text.replaceAll(inside, outside), word)
}

/** A socket of ours is connected from the start, so QEMU has nothing to listen on. */
function connected(word: string): string {
  return /^socket,id=[^,]+,fd=\d+,/.test(word) ? word.replace(',server=on,wait=off', '') : word
}

function describe(option: string | undefined, word: string): readonly NamedDescriptor[] {
  if (option === '-netdev') return describeNic(word)
  const fields = new Map(word.split(',').map((field) => splitOnce(field)))
  const fd = Number(fields.get('fd') ?? Number.NaN)
  if (!Number.isInteger(fd)) return []
  if (option === '-chardev') return [{ fd, kind: 'socket', label: fields.get('id') ?? '' }]
  if (option === '-add-fd') return [{ fd, kind: 'file', label: fields.get('opaque') ?? '' }]
  return []
}

function describeNic(word: string): readonly NamedDescriptor[] {
  const fd = /"addr":\{"type":"fd","str":"(\d+)"\}/.exec(word)?.[1]
  return fd === undefined ? [] : [{ fd: Number(fd), kind: 'nic', label: 'nic' }]
}

function splitOnce(field: string): readonly [string, string] {
  const at = field.indexOf('=')
  return at < 0 ? [field, ''] : [field.slice(0, at), field.slice(at + 1)]
}
