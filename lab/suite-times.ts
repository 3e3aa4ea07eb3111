/** How long the files of the lab take on a slow machine, for runs that have to end at a certain time. */
import { basename } from 'node:path'

/** Most files, with the boot of the lab. */
const usualSeconds = 380
/** Those that take longer, with some reserve: they move disks about under guests of an emulated host, or measure for minutes. */
const slowSeconds: Readonly<Record<string, number>> = {
  'storage.lab.mjs': 1_400,
  'storage-checkpoints.lab.mjs': 2_400, // 770 s alone; once, beside other work, it did not end in 1,500.
  'cpu-sharing.lab.mjs': 480,
  'vcpus.lab.mjs': 480,
}

/** Whether a file that begins now could not end in time: whoever has little of it names the end, as seconds since 1970. */
export function isTooLate(
  file: string,
  { KVASIR_LAB_UNTIL: until }: Readonly<Record<string, string | undefined>>,
  nowMs = Date.now(),
): boolean {
  if (until === undefined) return false
  return nowMs / 1000 + (slowSeconds[basename(file)] ?? usualSeconds) > Number(until)
}
