/**
 * The root that every caged program sees, prepared once per runtime directory: a read-only tmpfs with the host's /usr (read-only),
 * the harmless devices, /dev/kvm when VMs may use it, and empty places for what a VM gets bound.
 *
 * A launch pays nothing for it: a new mount namespace copies these mounts, and the VM's own binds are laid on the copy. The
 * template lives below a directory that only root can enter, because its device nodes are open to all, and on a private mount, so
 * that it reaches no other namespace. It stays when the daemon ends and is used again by the next one; a half-made or outdated one
 * is taken away and made anew. Running VMs keep their own copies.
 */
import { mkdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandError, readMounts, runCommand } from '@kvasir/linux'
import { CageError } from './cage-error.ts'

const fixedFiles = [
  '/boot/kernel',
  '/boot/initrd',
  '/boot/firmware',
  '/boot/nvram',
  '/dev/net/tun',
  '/proc/sys/fs/file-max',
] as const

/** How many files a jailed command can be given to read: the longest chain of a volume fits twice. */
export const maxInputs = 130

/** How many files a jailed command can be given to write. */
export const maxOutputs = 8

/** Where the n-th file to read is. */
export const inputPlace = (index: number) => `/in/${index}` as const

/** Where the n-th file to write is; a directory at /out would hide it. */
export const outputPlace = (index: number) => `/out/${index}` as const

/** Places in the root that are files until something is bound over them. */
export const cageFiles: readonly CagePlace[] = [
  ...fixedFiles,
  ...Array.from({ length: maxInputs }, (_, index) => inputPlace(index)),
  ...Array.from({ length: maxOutputs }, (_, index) => outputPlace(index)),
]

/** Places in the root that are directories, of which only /out holds anything, until something is bound over them. */
export const cageDirectories = [
  '/run/vm',
  '/memory',
  '/devices',
  '/dev/vfio',
  '/dev/dri',
  '/sys',
  '/share',
  '/proc/self',
  '/out',
] as const

/** A place that something of the host may be laid over; /dev/kvm is there only where the template has it. */
export type CagePlace =
  | (typeof fixedFiles)[number]
  | (typeof cageDirectories)[number]
  | ReturnType<typeof inputPlace>
  | ReturnType<typeof outputPlace>
  | '/dev/kvm'

/** A prepared root. */
export interface RootTemplate {
  readonly path: string
  readonly hasKvm: boolean
  /** Unmounts it; caged programs that run keep theirs. */
  remove(): Promise<void>
}

const TIMEOUT_MS = 20_000

/** Fixed text; parameters: root directory, minor number of kvm or `-`, the places, `--`, further trees to bind read-only. */
const BUILD = `
set -e
umask 022
root=$1 kvm=$2; shift 2
cage=\${root%/*}
mount --bind "$cage" "$cage"
mount --make-private "$cage"
mkdir -p "$root"
mount -t tmpfs -o mode=0755,size=256k kvasir-root "$root"
mkdir "$root/dev" "$root/old" "$root/empty"
mount -t tmpfs -o mode=0755,size=64k,nosuid,noexec kvasir-dev "$root/dev"
node() { mknod -m 0666 "$root/dev/$1" c "$2" "$3"; }
node null 1 3; node zero 1 5; node full 1 7; node random 1 8; node urandom 1 9
[ "$kvm" = - ] || node kvm 10 "$kvm"
while [ "$1" != -- ]; do
  case $1 in
    */) mkdir -p "$root$1" ;;
    *) [ -d "$root\${1%/*}" ] || mkdir -p "$root\${1%/*}"; : > "$root$1" ;;
  esac
  shift
done
shift
chmod 0711 "$root/proc"
for name in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$root/$name"
  elif [ -d "/$name" ]; then set -- "$@" "/$name"; fi
done
for tree in "$@"; do
  mkdir -p "$root$tree"
  mount -o bind,ro,nosuid,nodev "$tree" "$root$tree"
done
mount -o remount,bind,ro,nosuid,noexec "$root/dev"
mount -o remount,bind,ro,nosuid,nodev,noexec "$root"
`

/**
 * Makes or finds the template below `cageDirectory`, which is made with mode 0700. `trees` are directories of the host besides /usr
 * that programs need, such as where another QEMU is installed.
 */
export async function openRootTemplate(options: {
  readonly cageDirectory: string
  readonly trees: readonly string[]
  readonly kvm: boolean
}): Promise<RootTemplate> {
  await mkdir(options.cageDirectory, { recursive: true, mode: 0o700 })
  const cageDirectory = await realpath(options.cageDirectory)
  const path = join(cageDirectory, 'root')
  const marker = join(path, 'complete')
  const kvmMinor = options.kvm ? await readKvmMinor() : undefined
  const places = [...cageFiles, '/complete', ...cageDirectories.map((place) => `${place}/`)]
  const parameters = [path, kvmMinor ?? '-', ...places, '--', '/usr', ...options.trees]
  const stamp = JSON.stringify({ script: BUILD, parameters })
  const stampFile = `${cageDirectory}.stamp`
  const template = {
    path,
    hasKvm: kvmMinor !== undefined,
    remove: () => removeTemplate(cageDirectory, stampFile),
  }

  if ((await readFile(stampFile, 'utf8').catch(() => '')) === stamp && (await isMounted(marker, path)))
    return template
  await removeTemplate(cageDirectory, stampFile)
  try {
    await runCommand(['/bin/sh', '-c', BUILD, 'kvasir-template', ...parameters], { timeoutMs: TIMEOUT_MS })
    await writeFile(stampFile, stamp, { mode: 0o600 })
    return template
  } catch (cause) {
    await removeTemplate(cageDirectory, stampFile)
    throw new CageError(
      'template',
      `The root for VMs cannot be prepared at ${path}, so no VM can be started.`,
      {
        stderr: cause instanceof CommandError ? cause.stderr : '',
        cause,
      },
    )
  }
}

async function readKvmMinor(): Promise<string | undefined> {
  const device = await stat('/dev/kvm').catch(() => undefined)
  return device?.isCharacterDevice() ? String(device.rdev & 0xff) : undefined
}

/** The stamp outlives a reboot or a change of namespace where it is not on a tmpfs, so the mounts have the last word. */
async function isMounted(marker: string, path: string): Promise<boolean> {
  const points = new Set((await readMounts('self')).map((mount) => mount.mountPoint))
  const complete = await stat(marker).catch(() => undefined)
  return complete !== undefined && [path, `${path}/dev`, `${path}/usr`].every((point) => points.has(point))
}

async function removeTemplate(cageDirectory: string, stampFile: string): Promise<void> {
  await rm(stampFile, { force: true })
  const inside = (point: string) => point === cageDirectory || point.startsWith(`${cageDirectory}/`)
  // Twice or more when a build was killed between two mounts on one place; each pass takes the topmost away.
  for (let pass = 0; pass < 8; pass += 1) {
    const points = (await readMounts('self')).map((mount) => mount.mountPoint).filter(inside)
    if (points.length === 0) break
    const deepestFirst = points.sort((a, b) => b.length - a.length)
    await runCommand(['umount', '-l', ...deepestFirst], {
      timeoutMs: TIMEOUT_MS,
      acceptExitCodes: [0, 1, 32],
    })
  }
}
