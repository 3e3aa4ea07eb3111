/**
 * The Debian packages that Kvasir works with: which there are, what each is for, and how the missing ones get in.
 *
 * A package is named before it is installed, nothing is installed that is not in the table below, and recommendations are left
 * out. None of them starts a service. The names hold for Debian 12 and 13.
 *
 * Not here: the npm packages and Node 26 (tools/run).
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'

const run = promisify(execFile)
const queryTimeoutMs = 30_000
const updateTimeoutMs = 300_000
const installTimeoutMs = 1_800_000
const maxOutputBytes = 16 * 1024 * 1024
const shownErrorLines = 15

/** What a task wants to do: run VMs, build images, or test. */
export type Purpose = 'run' | 'images' | 'test'

interface DebianPackage {
  readonly name: string
  readonly why: string
}

/** Every package, by the purpose that needs it. */
export const debianPackages = {
  run: [
    { name: 'qemu-system-x86', why: 'the emulator' },
    { name: 'qemu-utils', why: 'qemu-img: volumes and imported images' },
    { name: 'qemu-block-extra', why: "QEMU's own clients of iSCSI, NFS and Ceph" },
    { name: 'ovmf', why: 'UEFI firmware' },
    { name: 'swtpm', why: 'the TPM of a VM' },
    { name: 'passt', why: 'user-mode networking of a VM' },
    { name: 'iproute2', why: 'ip: bridges and addresses of networks' },
    { name: 'nftables', why: 'nft: the rules of networks' },
    { name: 'dnsmasq-base', why: 'DHCP and DNS of networks' },
    { name: 'mount', why: 'the private mounts of an emulator' },
  ],
  images: [
    { name: 'mmdebstrap', why: 'root file systems of Debian guests' },
    { name: 'e2fsprogs', why: 'mke2fs: ext4 without a loop device' },
    { name: 'dosfstools', why: 'mkfs.fat: the EFI system partition' },
    { name: 'mtools', why: 'files in a FAT image without mounting it' },
    { name: 'fdisk', why: 'sfdisk: partition tables' },
  ],
  test: [
    { name: 'genisoimage', why: 'isoinfo: an oracle for the cloud-init seed' },
    { name: 'cpio', why: 'an oracle for the archives of initramfs' },
    { name: 'tgt', why: 'tgtd: a server of iSCSI beside a test' },
    { name: 'rpcbind', why: 'the portmapper that a server of NFS needs' },
    { name: 'nfs-ganesha', why: 'a server of NFS beside a test' },
    { name: 'nfs-ganesha-vfs', why: 'folders as what it exports' },
    { name: 'ceph-mon', why: 'Ceph beside a test' },
    { name: 'ceph-osd', why: 'Ceph beside a test' },
    { name: 'ceph-mgr', why: 'Ceph beside a test: how full it is' },
    { name: 'ceph-common', why: 'rbd and ceph: pools of RBD' },
    { name: 'lvm2', why: 'what LVM says where nothing of it is there' },
    { name: 'busybox-static', why: 'udhcpc and nslookup: namespaces that stand in for guests' },
    { name: 'iptables', why: 'the rules of other firewalls, iptables-legacy among them' },
    { name: 'bindfs', why: 'a file system that hangs when its server is stopped' },
  ],
} as const satisfies Record<Purpose, readonly DebianPackage[]>

/** A refusal with a sentence for the person who started the task. */
export class PackagesMissing extends Error {}

/** Installs what the purposes need and the machine lacks, naming it first through `say`; rejects with PackagesMissing. */
export async function ensureDebianPackages(
  purposes: readonly Purpose[],
  say: (line: string) => void,
): Promise<void> {
  const wanted: readonly DebianPackage[] = purposes.flatMap((purpose) => [...debianPackages[purpose]])
  const missing = await findMissing(wanted)
  if (missing.length === 0) return

  const names = missing.map((item) => item.name)
  say('Debian packages that are missing:')
  for (const item of missing) say(`  ${item.name.padEnd(20)} ${item.why}`)
  if (process.getuid?.() !== 0) {
    throw new PackagesMissing(
      `Only root can install them. Run: sudo apt-get install --no-install-recommends ${names.join(' ')}`,
    )
  }
  await install(names, say)
}

/** The packages of a list that dpkg does not have, in the list's order. */
async function findMissing(wanted: readonly DebianPackage[]): Promise<readonly DebianPackage[]> {
  const names = wanted.map((item) => item.name)
  const listed = await dpkgStatus(names)
  return wanted.filter((item) => !listed.has(item.name))
}

async function dpkgStatus(names: readonly string[]): Promise<ReadonlySet<string>> {
  const argv = ['-W', '-f', '${Package} ${db:Status-Status}\n', ...names]
  const text = await run('dpkg-query', argv, { timeout: queryTimeoutMs, env: aptEnvironment() }).then(
    ({ stdout }) => stdout,
    (error: unknown) => {
      if (errorField(error, 'code') === 'ENOENT') {
        throw new PackagesMissing(
          `This machine has no dpkg, so its packages cannot be looked up. Kvasir needs ${names.join(', ')}, or what is called so here.`,
        )
      }
      return errorField(error, 'stdout') // Exit code 1: some are unknown to dpkg; the others are on stdout all the same.
    },
  )
  return new Set(installedNames(text))
}

/** The names that dpkg-query calls installed; `rc`, half-configured and the like are not. */
export function installedNames(text: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .flatMap(([name, status]) => (name !== undefined && status === 'installed' ? [name] : []))
}

async function install(names: readonly string[], say: (line: string) => void): Promise<void> {
  const startedAt = performance.now()
  say(`Installing them with apt-get ...`)
  using _ = forbidServices()
  const known = await haveCandidates(names)
  if (!known) await aptGet(['update'], updateTimeoutMs)
  const argv = ['install', '--yes', '--no-install-recommends', ...names]
  try {
    await aptGet(argv, installTimeoutMs)
  } catch (error) {
    if (!known) throw error
    // Package lists that are too old name files that the archive no longer has.
    await aptGet(['update'], updateTimeoutMs)
    await aptGet(argv, installTimeoutMs)
  }
  say(`Installed in ${((performance.now() - startedAt) / 1000).toFixed(0)} s.`)
}

const servicePolicy = '/usr/sbin/policy-rc.d'
const policyText =
  '#!/bin/sh\n# Kvasir installs packages and starts no service; this file goes when it is through.\nexit 101\n'

/** Keeps packages from starting services (invoke-rc.d(8)) until it is disposed of; a policy that the host has of its own stays. */
function forbidServices(): Disposable {
  if (!existsSync(servicePolicy)) writeFileSync(servicePolicy, policyText, { mode: 0o755 })
  return {
    [Symbol.dispose]() {
      // Also one that an installation left which was killed.
      if (existsSync(servicePolicy) && readFileSync(servicePolicy, 'utf8') === policyText)
        rmSync(servicePolicy)
    },
  }
}

async function haveCandidates(names: readonly string[]): Promise<boolean> {
  const { stdout } = await run('apt-cache', ['policy', ...names], {
    timeout: queryTimeoutMs,
    env: aptEnvironment(),
  })
  const candidates = stdout.split('\n').filter((line) => /^\s+Candidate: (?!\(none\))/.test(line))
  return candidates.length >= names.length
}

async function aptGet(argv: readonly string[], timeoutMs: number): Promise<void> {
  // On a machine that has just booted, unattended-upgrades may hold dpkg's lock for minutes.
  const options = ['-q', '-o', 'DPkg::Lock::Timeout=600', '-o', 'Acquire::Retries=3']
  try {
    await run('apt-get', [...options, ...argv], {
      timeout: timeoutMs,
      maxBuffer: maxOutputBytes,
      env: aptEnvironment(),
    })
  } catch (error) {
    const output = `${errorField(error, 'stdout')}\n${errorField(error, 'stderr')}`.trim().split('\n')
    throw new PackagesMissing(
      `apt-get ${argv.join(' ')} did not succeed, so the packages are still missing. It said last:\n${output.slice(-shownErrorLines).join('\n')}`,
    )
  }
}

function aptEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' }
}

function errorField(error: unknown, field: 'code' | 'stdout' | 'stderr'): string {
  const value: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, field) : undefined
  return typeof value === 'string' ? value : ''
}
