/**
 * What a daemon and its VMs left on the host after they are gone: processes, cgroups, mounts, files. Looked for from outside, without
 * asking the daemon.
 */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { lstat, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { eventually } from './eventually.ts'
import type { Place } from './place.ts'

const run = promisify(execFile)

/** Names everything that is left of a place whose VMs are deleted and whose daemon has ended; the cage's template is not counted. */
export async function leftoversOf(place: Place): Promise<readonly string[]> {
  return [
    ...(await processesOf(place)).map((process) => `process ${process}`),
    ...(await groupsOf(place)).map((group) => `cgroup ${group}`),
    ...(await mountsBelow(place.base))
      .filter((mount) => !isTemplate(mount, place))
      .map((mount) => `mount ${mount}`),
    ...(await filesOf(place)).map((file) => `file ${file}`),
  ]
}

/** Takes everything of a place away, also what should not be there. */
export async function clearPlace(place: Place): Promise<void> {
  const home = await cgroupHome(place)
  if (home !== undefined) {
    await writeFile(join(home, 'cgroup.kill'), '1').catch(() => {})
    await eventually(async () => ((await removeGroups(home)) ? true : undefined), {
      withinMs: 5_000,
      what: `cgroup ${home} is removed`,
    })
  }
  for (const mount of (await mountsBelow(place.base)).toReversed()) await run('umount', ['-l', mount])
  // The host's /usr lies below the template: nothing is removed while anything is mounted.
  const mounted = await mountsBelow(place.base)
  if (mounted.length > 0) throw new Error(`Still mounted, so nothing is removed: ${mounted.join(', ')}`)
  await rm(place.base, { recursive: true, force: true })
}

/** Processes that bear a uid of the place or name its folder, as `pid command`. One that has ended and is not reaped yet is none. */
async function processesOf(place: Place): Promise<readonly string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
  const found = await Promise.all(pids.map((pid) => describeIfOurs(pid, place)))
  return found.filter((line) => line !== undefined)
}

async function describeIfOurs(pid: string, place: Place): Promise<string | undefined> {
  try {
    const [status, command] = await Promise.all([
      readFile(`/proc/${pid}/status`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ])
    if (!/^VmSize:/m.test(status)) return undefined // Its memory is gone: it has ended.
    const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])
    const isOurs =
      (uid >= place.uids.first && uid < place.uids.first + place.uids.count) ||
      command.split('\0').some((word) => word.includes(`${place.base}/`))
    return isOurs ? `${pid} ${command.replaceAll('\0', ' ').slice(0, 120)}` : undefined
  } catch {
    return undefined // It has ended meanwhile.
  }
}

/** The cgroups of VMs and tools below the daemon's own. */
async function groupsOf(place: Place): Promise<readonly string[]> {
  const home = await cgroupHome(place)
  return home === undefined ? [] : (await childrenOf(home)).map((name) => `${place.prefix}/${name}`)
}

async function cgroupHome(place: Place): Promise<string | undefined> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '))
  const root = mounts.find((fields) => fields[2] === 'cgroup2')?.[1]
  if (root === undefined) return undefined
  const home = join(root, place.prefix)
  return existsSync(home) ? home : undefined
}

async function childrenOf(group: string): Promise<readonly string[]> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}

async function removeGroups(group: string): Promise<boolean> {
  for (const child of await childrenOf(group)) await removeGroups(join(group, child))
  return await rmdir(group).then(
    () => true,
    () => !existsSync(group),
  )
}

/** Outermost first. */
async function mountsBelow(directory: string): Promise<readonly string[]> {
  const lines = (await readFile('/proc/self/mounts', 'utf8')).split('\n')
  return lines.map((line) => line.split(' ')[1] ?? '').filter((point) => point.startsWith(`${directory}/`))
}

function isTemplate(mount: string, place: Place): boolean {
  const cage = join(place.runtimeDir, 'cage')
  return mount === cage || mount.startsWith(`${cage}/`)
}

/** Files of VMs: below the runtime directory, the log directory and what the state directory keeps per VM. */
async function filesOf(place: Place): Promise<readonly string[]> {
  const perVm = [
    join(place.runtimeDir, 'vms'),
    join(place.logDir, 'vms'),
    join(place.stateDir, 'volumes'),
    join(place.stateDir, 'saves'),
    join(place.stateDir, 'seeds'),
    join(place.stateDir, 'work', 'scratch'),
    join(place.runtimeDir, 'networks'),
    join(place.stateDir, 'networks'),
  ]
  const found = await Promise.all(
    perVm.map(async (directory) =>
      (await readdir(directory).catch(() => [])).map((name) => join(directory, name)),
    ),
  )
  const staged = (await readdir(join(place.stateDir, 'images')).catch(() => []))
    .filter((name) => name.startsWith('.'))
    .map((name) => join(place.stateDir, 'images', name))
  const socket = (await lstat(place.socketPath).catch(() => undefined)) ? [place.socketPath] : []
  return [...found.flat(), ...staged, ...socket]
}
