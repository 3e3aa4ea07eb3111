/**
 * A root file system of Debian for a VM, made by mmdebstrap from the archive that the host uses, and set up so that it knows no machine:
 * no host name, no keys, no machine id; cloud-init gives it those.
 *
 * mmdebstrap runs in mount and PID namespaces of its own, so that when it is ended early nothing stays mounted below the directory that is
 * then removed.
 *
 * Not here: the disk around it (debian-disk.ts).
 */
import { chmod, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { grubConfig } from '../../model/images/grub.ts'
import { runStep } from './run-step.ts'

const bootstrapTimeoutMs = 3_600_000
const lookUpTimeoutMs = 30_000

const packages = [
  'systemd-sysv',
  'systemd-resolved',
  'systemd-timesyncd',
  'dbus',
  'udev',
  'kmod',
  'iproute2',
  'iputils-ping',
  'netbase',
  'procps',
  'less',
  'nano',
  'sudo',
  'ca-certificates',
  'e2fsprogs',
  'fdisk',
  'zstd',
  'cloud-init',
  'cloud-guest-utils',
  'qemu-guest-agent',
  'openssh-server',
  'linux-image-cloud-amd64',
  'initramfs-tools',
  'grub-pc-bin',
  'grub-efi-amd64-bin',
  'grub2-common',
]

/** Left out while packages are unpacked; licences stay. */
const dpkgOptions = [
  'path-exclude=/usr/share/man/*',
  'path-exclude=/usr/share/locale/*',
  'path-exclude=/usr/share/doc/*',
  'path-include=/usr/share/doc/*/copyright',
]

/** Drivers of the disks that VMs have; without the list the initramfs would carry those of every machine. */
const initramfsModules = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_blk',
  'virtio_scsi',
  'sd_mod',
  'ahci',
  'nvme',
  'ext4',
]

/** The label of the root file system, by which boot loader and kernel find it. */
export const rootLabel = 'kvasir-root'
/** The label of the EFI system partition. */
export const espLabel = 'KVASIR-ESP'
// Without a test that takes a sound timer for a broken one where an emulated processor waits for one of the host's. Under KVM there is none.
const cmdline = 'console=tty0 console=ttyS0 no_timer_check'

/** Makes the root file system in a directory that does not exist yet. */
export async function makeDebianRoot(
  root: string,
  options: { readonly suite: string; readonly signal: AbortSignal },
): Promise<void> {
  const { suite, signal } = options
  const cwd = dirname(root)
  const settings = join(cwd, 'initramfs')
  await writeGuestFiles(settings, {
    'etc/initramfs-tools/modules': `${initramfsModules.join('\n')}\n`,
    'etc/initramfs-tools/conf.d/kvasir.conf': 'MODULES=list\nCOMPRESS=zstd\nRESUME=none\n',
  })
  const argv = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    '--',
    // The daemon's umask would close the guest's files to everyone but root.
    '/bin/sh',
    '-c',
    'umask 022 && exec "$@"',
    'sh',
    'mmdebstrap',
    '--quiet',
    '--mode=root',
    '--variant=minbase',
    '--format=directory',
    '--aptopt=Acquire::Languages "none"',
    ...dpkgOptions.map((option) => `--dpkgopt=${option}`),
    `--include=${packages.join(',')}`,
    `--essential-hook=copy-in ${join(settings, 'etc/initramfs-tools')} /etc`,
    suite,
    root,
    ...(await archiveLines(suite, { cwd, signal })),
  ]
  await runStep(argv, { cwd, signal, timeoutMs: bootstrapTimeoutMs, env: { HOME: '/root' } })
  await makeAnonymous(root)
}

/** The sources.list of the guest: the archives that the host's apt uses for Debian. `unsupported` when it uses none. */
async function archiveLines(
  suite: string,
  options: { readonly cwd: string; readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const format = '$(ORIGIN)|$(LABEL)|$(REPO_URI)'
  const text = await runStep(['apt-get', 'indextargets', '--format', format, 'Created-By: Packages'], {
    ...options,
    timeoutMs: lookUpTimeoutMs,
  }).catch(() => '')
  const find = (label: string): string | undefined =>
    text
      .split('\n')
      .map((line) => line.split('|'))
      .find(
        ([origin, itsLabel, uri]) => origin === 'Debian' && itsLabel === label && /^https?:/.test(uri ?? ''),
      )?.[2]
  const main = find('Debian')
  if (main === undefined)
    throw new KvasirError(
      'unsupported',
      "The host's apt knows no archive of Debian, so no Debian image can be built.",
    )
  const security = find('Debian-Security')
  return [
    `deb ${main} ${suite} main`,
    `deb ${main} ${suite}-updates main`,
    ...(security === undefined ? [] : [`deb ${security} ${suite}-security main`]),
  ]
}

async function makeAnonymous(root: string): Promise<void> {
  const files = {
    'etc/hostname': 'debian\n',
    'etc/hosts': '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n',
    'etc/machine-id': '',
    'etc/fstab': [
      `LABEL=${rootLabel} / ext4 errors=remount-ro,discard 0 1`,
      `LABEL=${espLabel} /boot/efi vfat umask=0077,nofail 0 1`,
      '',
    ].join('\n'),
    // Without the package locales cloud-init cannot make one and would call its whole run failed.
    'etc/cloud/cloud.cfg.d/90_kvasir.cfg': 'datasource_list: [NoCloud, None]\nlocale: false\n',
    'etc/default/locale': 'LANG=C.UTF-8\n',
    'etc/systemd/network/90-kvasir.network': '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n',
    'etc/default/grub': [
      'GRUB_DEFAULT=0',
      'GRUB_TIMEOUT=0',
      'GRUB_DISTRIBUTOR=Debian',
      `GRUB_CMDLINE_LINUX="${cmdline}"`,
      'GRUB_TERMINAL="console serial"',
      'GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"',
      '',
    ].join('\n'),
    'boot/grub/grub.cfg': grubConfig(rootLabel, cmdline),
  }
  await makeGuestDirectory(join(root, 'boot/efi'))
  await writeGuestFiles(root, files)
  for (const name of await readdir(join(root, 'etc/ssh'))) {
    if (name.startsWith('ssh_host_')) await rm(join(root, 'etc/ssh', name))
  }
  await rm(join(root, 'etc/resolv.conf'), { force: true })
  await symlink('../run/systemd/resolve/stub-resolv.conf', join(root, 'etc/resolv.conf'))
  await rm(join(root, 'var/lib/dbus/machine-id'), { force: true })
  const wanted = join(root, 'etc/systemd/system/multi-user.target.wants')
  await makeGuestDirectory(wanted)
  await rm(join(wanted, 'systemd-networkd.service'), { force: true })
  await symlink('/lib/systemd/system/systemd-networkd.service', join(wanted, 'systemd-networkd.service'))
}

/** Writes files that everybody in the guest may read, whatever the daemon's umask. */
async function writeGuestFiles(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    const full = join(root, path)
    await makeGuestDirectory(dirname(full))
    await writeFile(full, text)
    await chmod(full, 0o644)
  }
}

async function makeGuestDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) await chmod(made, 0o755)
}
