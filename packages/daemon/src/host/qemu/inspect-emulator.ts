/** Whether the cages of a VM's processes hold: its emulator's, and those of its TPM and its shares. */
import { existsSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { readExecutable } from '@kvasir/linux'
import { tapName } from '../../model/network/link-names.ts'
import type { CageGroups } from '../cage/cage-groups.ts'
import { cageBreaches, inspectCage } from '../cage/inspect-cage.ts'
import { serverBreaches } from '../cage/inspect-server.ts'
import { nodesShown } from './host-device-files.ts'
import { type EmulatorPaths, groupOf, readRecord, type StoredEmulator } from './runtime-directory.ts'
import { isVirtiofsd } from './share-helper.ts'
import { swtpmBinary, tpmBind, tpmFiles } from './tpm-helper.ts'

/** What is wrong with them, one sentence each. `files` are what the emulator may have open besides those of its start. */
export async function inspectEmulator(
  id: string,
  tools: { readonly paths: EmulatorPaths; readonly groups: CageGroups; readonly files: readonly string[] },
): Promise<readonly string[]> {
  const stored = await readRecord(tools.paths)
  if (!stored) return ['Nothing is written down of its emulator, so its cage cannot be judged.']
  const breaches = cageBreaches(await inspectCage(stored.pid), {
    uid: stored.uid,
    gid: stored.uid,
    cgroup: stored.cgroup,
    binds: stored.cage.places,
    files: await withNodes([
      ...stored.cage.files,
      ...(await nodesShown(tools.paths)),
      ...tools.files,
      ...macvtapNodes(id, stored),
    ]),
    trees: stored.cage.trees,
    seccompFilters: 1,
  })
  return [...breaches, ...(await inspectTpm(id, stored, tools)), ...(await inspectShares(id, stored, tools))]
}

/** The nodes of its macvtaps, which lay in a file system of their own (host/networks/open-taps.pl). */
function macvtapNodes(id: string, { plan }: StoredEmulator): readonly string[] {
  return Object.entries(plan.ids.nics).flatMap(([nic, { macvtap }]) =>
    macvtap ? [`/${tapName(id, nic)}`] : [],
  )
}

/** A TPM that ends meanwhile has no cage any more. */
async function inspectTpm(
  id: string,
  { uid, cgroup, cage }: StoredEmulator,
  { paths, groups }: { readonly paths: EmulatorPaths; readonly groups: CageGroups },
): Promise<readonly string[]> {
  if (!existsSync(paths.tpm)) return []
  const breaches: string[] = []
  let isThere = false
  for (const pid of await groups.processes(groupOf(id))) {
    if ((await readExecutable(pid)) !== swtpmBinary) continue
    isThere = true
    const report = await inspectCage(pid)
    if (report.threads.length === 0) continue
    const found = cageBreaches(report, {
      uid: uid + 1,
      gid: uid + 1,
      cgroup,
      binds: [tpmBind],
      files: [...tpmFiles, join(paths.tpm, 'output.fifo')],
      trees: cage.trees,
      seccompFilters: 1, // Its own (swtpm(8), --seccomp).
    })
    breaches.push(...found.map((breach) => `Its TPM: ${breach}`))
  }
  return isThere ? breaches : ['Its TPM has ended, or lives in another cgroup.']
}

/** One that ends meanwhile has no cage any more; that it is missed is for the VM's status. */
async function inspectShares(
  id: string,
  { cgroup }: StoredEmulator,
  { groups }: { readonly groups: CageGroups },
): Promise<readonly string[]> {
  const breaches: string[] = []
  for (const pid of await groups.processes(groupOf(id))) {
    if (!isVirtiofsd(await readExecutable(pid))) continue
    const found = serverBreaches(await inspectCage(pid), { cgroup })
    breaches.push(...found.map((breach) => `What serves a share (${pid}): ${breach}`))
  }
  return breaches
}

/** A device is open by the name of its node, and written down by the links that lead there. */
async function withNodes(files: readonly string[]): Promise<readonly string[]> {
  const links = files.filter((path) => path.startsWith('/dev/'))
  const nodes = await Promise.all(links.map((path) => realpath(path).catch(() => path)))
  return [...files, ...nodes]
}
