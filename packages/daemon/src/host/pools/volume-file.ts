/** What a volume is called as a file of a folder. */
import type { VolumeKey } from '../../ports/pools.ts'

/** A volume's file as we name it. */
export const ours = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:qcow2|raw)$/

/** The name of a volume's file in its folder. */
export function fileOf({ id, format, file }: VolumeKey): string {
  return file ?? `${checkedId(id)}.${format}`
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
