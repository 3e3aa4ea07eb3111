/** Folders of the host that VMs are given: which can be, and what cannot be done with a VM that has some. */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { judgeShare } from '../../model/storage/judge-share.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

/** `file-not-found` for a folder or a program that is not there, `bad-request` for folders with the daemon's own state, or disks of VMs. */
export async function requireShares(
  spec: VmSpec,
  name: string,
  { host, store, pools }: Ports,
): Promise<void> {
  if (spec.shares.length === 0) return
  if (host.virtiofsd() === undefined)
    throw new KvasirError(
      'file-not-found',
      `VM ${name} shares folders, and this host has no virtiofsd to serve them; install the package virtiofsd (Debian 12: qemu-system-common).`,
    )
  const ofPools = store.pools.list().flatMap((pool) => {
    const { path } = pools.of(pool)
    return path === undefined ? [] : [{ path, what: `where pool ${pool.name} keeps disks` }]
  })
  for (const { folder } of spec.shares) {
    const refusal = judgeShare(await host.lookAtFolder(folder), [...host.ownFolders(), ...ofPools])
    if (refusal) throw refusal
  }
}

/** `unsupported` for memory that cannot be written down: what serves a share knows which files the guest has open, and QEMU does not. */
export function requireNoShares({ name, run }: Pick<VmRecord, 'name' | 'run'>, what: string): void {
  const folders = run?.bootedSpec.shares.map(({ folder }) => folder) ?? []
  if (folders.length > 0)
    throw new KvasirError(
      'unsupported',
      `VM ${name} has shares (${folders.join(', ')}), and QEMU does not know which of their files are open, so its memory is not ${what}.`,
    )
}
