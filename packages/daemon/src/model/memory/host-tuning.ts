/**
 * The host's memory management as the configuration wants it: which files of the kernel are to hold what, in which order.
 *
 * Order counts: KSM takes no scan rate while its advisor sets one, and zswap is switched once its pool is as it should be. Facts: the
 * kernel's Documentation/admin-guide/mm/ksm.rst and zswap.rst.
 *
 * Not here: writing, and giving back what was there before (host/tuning).
 */

/** What the configuration says of KSM; what it does not say stays as it is. */
export interface KsmTuning {
  readonly run?: boolean | undefined
  readonly pagesToScan?: number | undefined
  readonly sleepMs?: number | undefined
  readonly advisor?: 'none' | 'scan-time' | undefined
  readonly advisorTargetSeconds?: number | undefined
  readonly mergeAcrossNodes?: boolean | undefined
  readonly useZeroPages?: boolean | undefined
  readonly smartScan?: boolean | undefined
  readonly maxPageSharing?: number | undefined
}

/** What the configuration says of zswap. */
export interface ZswapTuning {
  readonly enabled?: boolean | undefined
  readonly maxPoolPercent?: number | undefined
  readonly acceptThresholdPercent?: number | undefined
  readonly compressor?: string | undefined
  readonly pool?: string | undefined
  readonly shrinker?: boolean | undefined
}

export interface HostTuning {
  readonly ksm?: KsmTuning | undefined
  readonly zswap?: ZswapTuning | undefined
}

/** One file of the kernel that is to hold a value. */
export interface TunedFile {
  /** The key of the configuration: `ksm.pagesToScan`. */
  readonly setting: string
  readonly path: string
  readonly value: string
}

const ksmFolder = '/sys/kernel/mm/ksm'
const zswapFolder = '/sys/module/zswap/parameters'

/** The files in the order in which they are written; given back in the opposite one. */
export function tunedFiles({ ksm = {}, zswap = {} }: HostTuning): readonly TunedFile[] {
  const advisor = ['ksm.advisor', 'advisor_mode', ksm.advisor] as const
  const ksmFiles = [
    ...(ksm.advisor === 'none' ? [advisor] : []),
    ['ksm.mergeAcrossNodes', 'merge_across_nodes', ksm.mergeAcrossNodes],
    ['ksm.useZeroPages', 'use_zero_pages', ksm.useZeroPages],
    ['ksm.smartScan', 'smart_scan', ksm.smartScan],
    ['ksm.maxPageSharing', 'max_page_sharing', ksm.maxPageSharing],
    ['ksm.sleepMs', 'sleep_millisecs', ksm.sleepMs],
    ['ksm.pagesToScan', 'pages_to_scan', ksm.pagesToScan],
    ['ksm.advisorTargetSeconds', 'advisor_target_scan_time', ksm.advisorTargetSeconds],
    ...(ksm.advisor === 'scan-time' ? [advisor] : []),
    ['ksm.run', 'run', ksm.run],
  ] as const
  const zswapFiles = [
    ['zswap.compressor', 'compressor', zswap.compressor],
    ['zswap.pool', 'zpool', zswap.pool],
    ['zswap.maxPoolPercent', 'max_pool_percent', zswap.maxPoolPercent],
    ['zswap.acceptThresholdPercent', 'accept_threshold_percent', zswap.acceptThresholdPercent],
    ['zswap.shrinker', 'shrinker_enabled', yesNo(zswap.shrinker)],
    ['zswap.enabled', 'enabled', yesNo(zswap.enabled)],
  ] as const
  return [...inFolder(ksmFolder, ksmFiles), ...inFolder(zswapFolder, zswapFiles)]
}

/** The value that a file holds: the word in brackets of a choice such as `[none] scan-time`, else all of it. */
export function heldValue(text: string): string {
  return /\[([^\]]+)\]/.exec(text)?.[1] ?? text.trim()
}

function inFolder(
  folder: string,
  files: readonly (readonly [setting: string, name: string, value: string | number | boolean | undefined])[],
): readonly TunedFile[] {
  return files.flatMap(([setting, name, value]) =>
    value === undefined
      ? []
      : [
          {
            setting,
            path: `${folder}/${name}`,
            value: String(typeof value === 'boolean' ? Number(value) : value),
          },
        ],
  )
}

function yesNo(value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : value ? 'Y' : 'N'
}
