/**
 * What a test may lack on this machine. A skip is loud: it prints what was lacking and which promise goes unchecked; and
 * `KVASIR_REQUIRE=qemu,root` turns such a skip into a failure.
 */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** What a test can lack. */
export type Requirement =
  | 'qemu'
  | 'root'
  | 'lab'
  /** A server of iSCSI that runs beside the test. */
  | 'tgt'
  /** A server of NFS that does. */
  | 'ganesha'
  /** A Ceph that runs beside the test. */
  | 'ceph'
  /** The UEFI images of Debian's package. */
  | 'ovmf'
  /** The TPM of a VM. */
  | 'swtpm'
  | 'guest-agent'
  | 'kvm'
  | 'ksm'
  | 'v1-rt-groups'
  | 'network'
  | 'cgroup'
  | 'libvirt'
  | 'passt'
  /** Firewalls of others; no test installs those that would rule the machine from its next boot on. */
  | 'iptables'
  | 'firewalld'
  | 'ufw'
  | 'vsock'
  /** A GPU that renders for others. */
  | 'render-node'
  | 'slow'
  /** Huge pages that the host has reserved, or lets be reserved. */
  | 'hugepages'
  /** A limit of locked memory that a guest fits into. */
  | 'memlock'
  /** More than one NUMA node. */
  | 'numa'
  /** A program of others that reads what ours wrote. */
  | 'oracle'

/**
 * Gives the reason to skip with, as in `test('...', { skip: hasQemu ? false : lacking('qemu', 'no QEMU binary') }, ...)`, after
 * printing it; throws instead when `KVASIR_REQUIRE` names the requirement.
 */
export function lacking(what: Requirement, reason: string): string {
  const sentence = `SKIPPED for want of ${what}: ${reason}`
  const required = (process.env['KVASIR_REQUIRE'] ?? '').split(',').map((name) => name.trim())
  if (required.includes(what))
    throw new Error(`KVASIR_REQUIRE names ${what}, so this may not be skipped: ${reason}`)
  process.stderr.write(`${sentence}\n`)
  return sentence
}

/** The `skip` of a test that needs these: false where the machine has them all. */
export function needs(...requirements: readonly (Requirement & keyof typeof reasonFor)[]): string | false {
  for (const requirement of requirements) {
    const reason = reasonFor[requirement]()
    if (reason !== undefined) return lacking(requirement, reason)
  }
  return false
}

const reasonFor = {
  qemu: () => programMissing('qemu-system-x86_64'),
  tgt: () => programMissing('tgtd'),
  ganesha: () => programMissing('ganesha.nfsd'),
  passt: () => programMissing('passt'),
  iptables: () => programMissing('iptables-legacy'),
  firewalld: () => programMissing('firewalld') ?? programMissing('dbus-daemon'),
  ufw: () => programMissing('ufw'),
  ceph: () => programMissing('ceph-osd'),
  swtpm: () => programMissing('swtpm'),
  ovmf: () =>
    existsSync('/usr/share/OVMF/OVMF_CODE_4M.fd') ? undefined : 'the package ovmf is not installed',
  lab: () =>
    process.env['KVASIR_LAB'] === '1'
      ? undefined
      : 'this machine is not the lab, where npm run test:lab runs the test',
  root: () => (process.getuid?.() === 0 ? undefined : 'the test does not run as root'),
} as const satisfies Record<string, () => string | undefined>

function programMissing(program: string): string | undefined {
  const folders = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin`
    .split(delimiter)
    .filter((folder) => folder !== '')
  return folders.some((folder) => isExecutable(join(folder, program)))
    ? undefined
    : `${program} is not on PATH`
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
