/**
 * A libvirtd of our own: in a mount namespace in which /etc/libvirt, /run, /var/lib/libvirt, /var/cache and /var/log/libvirt are empty
 * and new, and in which /dev has no kvm. So it neither sees nor touches the host's, and it cannot probe anew at every start a /dev/kvm
 * that it cannot use, which would make a comparison unfair.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync } from 'node:fs'
import { copyFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from '../e2e/machine/eventually.ts'
import type { Place } from '../e2e/machine/place.ts'

const run = promisify(execFile)
const libvirtd = '/usr/sbin/libvirtd'
const images = '/var/lib/libvirt/images'
/** What a comparison lacks where `openLibvirt` gives nothing. */
export const libvirtMissing =
  'libvirtd or virsh is not installed (apt-get install libvirt-daemon-system), so libvirt is not compared'

const startMs = 30_000
const commandMs = 60_000

export interface Libvirt extends AsyncDisposable {
  readonly description: string
  /** Runs virsh against it, and gives what it prints. */
  virsh(...args: readonly string[]): Promise<string>
  define(xml: string): Promise<void>
  /** Puts a copy of a file where its QEMUs can read it; gives the path as libvirtd sees it. */
  lend(file: string): Promise<string>
  /** A path as libvirtd sees it, as this process sees it. */
  onHost(path: string): string
}

/** Parameters: a new folder, whose place on /dev is taken by one without kvm; the network namespace that it was put into, if any. */
const enter = `
set -eu
mkdir "$1/dev"
mount -t tmpfs -o mode=755,size=1m bench "$1/dev"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
  rest=\${node#*:}
  mknod -m 666 "$1/dev/\${node%%:*}" c "\${rest%:*}" "\${rest#*:}"
done
mkdir "$1/dev/pts" "$1/dev/shm" "$1/dev/net"
ln -s pts/ptmx "$1/dev/ptmx"
mknod -m 666 "$1/dev/net/tun" c 10 200
if [ -n "$2" ]; then # /sys has the links of the network that it was mounted in.
  mkdir "$1/cgroup"
  mount --rbind /sys/fs/cgroup "$1/cgroup"
  mount -t sysfs bench /sys
  mount --rbind "$1/cgroup" /sys/fs/cgroup
fi
mount --bind /dev/pts "$1/dev/pts"
mount -t tmpfs bench "$1/dev/shm"
umount --recursive --lazy /dev
mount --move "$1/dev" /dev
for folder in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /run; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=755 bench "$folder"
done
mkdir -p /run/lock /var/lib/libvirt/qemu /var/log/libvirt/qemu ${images} "$1/images"
mount --bind "$1/images" ${images} # Files of guests lie where those of the other peers do, not in memory.
chown libvirt-qemu:libvirt-qemu /var/lib/libvirt/qemu
cat > /etc/libvirt/libvirtd.conf <<END
unix_sock_dir = "$1"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
END
cat > /etc/libvirt/qemu.conf <<END
stdio_handler = "file"
security_driver = "none"
END
exec ${libvirtd}
`

/** Starts libvirtd, in a network namespace at a path where that is given, and waits until it answers; undefined where it is not installed. */
export async function openLibvirt(
  place: Place,
  { network }: { readonly network?: string } = {},
): Promise<Libvirt | undefined> {
  if (!existsSync(libvirtd) || !existsSync('/usr/bin/virsh')) return undefined
  const folder = join(place.base, 'libvirt')
  mkdirSync(folder)
  const log = openSync(join(folder, 'libvirtd.log'), 'a')
  const unshare = ['unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', enter]
  const [program = '', ...args] = [
    ...(network === undefined ? [] : ['nsenter', `--net=${network}`]),
    ...unshare,
  ]
  const child = spawn(program, [...args, 'bench-libvirt', folder, network ?? ''], {
    stdio: ['ignore', log, log],
  })
  const url = `qemu+unix:///system?socket=${join(folder, 'libvirt-sock')}`
  const virsh = async (...args: readonly string[]): Promise<string> => {
    const { stdout } = await run('virsh', ['--quiet', '--connect', url, ...args], { timeout: commandMs })
    return stdout
  }
  try {
    await eventually(() => virsh('version'), { withinMs: startMs, everyMs: 100, what: 'libvirtd answers' })
  } catch (error) {
    await end(child)
    throw error
  }
  const version = (await virsh('version')).match(/library: libvirt ([\d.]+)/)?.[1] ?? 'unknown'
  return {
    description: `libvirt ${version} in a mount namespace of its own without /dev/kvm; no virtlogd, no security driver`,
    virsh,
    async define(xml) {
      const path = join(folder, 'domain.xml')
      await writeFile(path, xml)
      await virsh('define', path)
    },
    async lend(file) {
      const path = join(images, basename(file))
      await copyFile(file, `/proc/${child.pid}/root${path}`)
      return path
    },
    onHost: (path) => `/proc/${child.pid}/root${path}`,
    async [Symbol.asyncDispose]() {
      for (const name of (await virsh('list', '--name')).split('\n').filter(Boolean))
        await virsh('destroy', name)
      await end(child)
    },
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), startMs)
  await ended
  clearTimeout(timer)
}
