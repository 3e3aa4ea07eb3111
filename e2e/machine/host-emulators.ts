/** The emulators that run on the host for a place, seen from outside. */
import { readdir, readFile } from 'node:fs/promises'
import type { Place } from './place.ts'

/** The processes of QEMU in the place's cgroups, by the UUID on their command line. */
export async function emulatorsByVm(place: Place): Promise<ReadonlyMap<string, readonly number[]>> {
  const found = new Map<string, number[]>()
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const group = await readFile(`/proc/${name}/cgroup`, 'utf8').catch(() => '')
    if (!group.includes(`/${place.prefix}/`)) continue
    const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const at = words.indexOf('-uuid')
    const id = at < 0 || !words[0]?.includes('qemu-system') ? undefined : words[at + 1]
    if (id !== undefined) found.set(id, [...(found.get(id) ?? []), Number(name)])
  }
  return found
}
