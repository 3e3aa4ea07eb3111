/** The bytes of volumes, by QEMU's tools in the jail. */
import { KvasirError, type VolumeCheck } from '@kvasir/contract'
import { z } from 'zod'
import { type Qcow2Table, tableBehindEnd, tablesHeaderBytes } from '../../model/storage/qcow2-header.ts'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedToolResult, JailedTools } from '../../ports/jailed-tools.ts'
import type { CheckWork, VolumeAccess } from '../../ports/volume-access.ts'
import { copyInto } from './copy-chain.ts'
import { isWrongSecret, wrongSecret } from './encrypted-qcow2.ts'
import { jailedChain, placeOf } from './jailed-chain.ts'
import { isLockRefusal, lockError } from './lock-error.ts'
import { openVolume } from './open-volume.ts'
import { PoolHung } from './pool-hands.ts'
import { serveVolumes } from './serve-volumes.ts'

/** The clusters of a large volume are looked through one by one. */
const CHECK_TIMEOUT_MS = 24 * 3600 * 1000

/** Volumes that are open at one time: each takes one of the few users that jailed tools have. */
const mostOpen = 4

/** Opens the tools; nothing is run yet. */
export function createVolumeAccess({ jailed }: { readonly jailed: JailedTools }): VolumeAccess {
  let open = 0
  /** One of the few that may be open at one time, until it is closed. */
  const counted = async <T extends { close(): Promise<void> }>(
    chain: readonly VolumeSource[],
    make: () => Promise<T>,
  ): Promise<T> => {
    const [top] = chain
    if (top === undefined) throw new TypeError('An empty chain has nothing to open.')
    if (open >= mostOpen)
      throw new KvasirError(
        'too-many-requests',
        `${mostOpen} volumes are being read or written from outside already, so this one waits.`,
      )
    open++
    try {
      const made = await hungIsUnreachable(top, make)
      let isOpen = true
      const close = async () => {
        if (!isOpen) return
        isOpen = false
        await made.close().finally(() => open--)
      }
      return { ...made, close }
    } catch (error) {
      open--
      throw error
    }
  }
  return {
    check: (source, work) => checkVolume(source, { ...work, jailed }),
    tableBehindEnd: (source, { signal }) =>
      hungIsUnreachable(source, () => lookAtTables(source, { signal, jailed })),
    open: (chain, work) => counted(chain, () => openVolume(chain, { ...work, jailed })),
    async fill([into, ...below], chain, work) {
      if (into === undefined) throw new TypeError('An empty chain has nothing to fill.')
      const isZero = work.isNew === true && below.length === 0
      const how = { ...work, jailed, below, isZero, isFlushed: true }
      await hungIsUnreachable(into, () => copyInto(into, chain, how))
    },
    serve: (volumes, work) =>
      counted(volumes[0]?.chain ?? [], () => serveVolumes(volumes, { ...work, jailed })),
  }
}

async function checkVolume(
  source: VolumeSource,
  { repair, fileSizeBytes, signal, jailed }: CheckWork & { readonly jailed: JailedTools },
): Promise<VolumeCheck> {
  const { request, file } = jailedChain([source], repair ? 'write' : 'read')
  const result = await hungIsUnreachable(source, () =>
    jailed.run(
      {
        tool: 'qemu-img',
        args: ['check', '--output=json', ...(repair ? ['-r', 'all'] : []), '--', file],
        ...request,
        timeoutMs: CHECK_TIMEOUT_MS,
        fileSizeBytes,
      },
      signal,
    ),
  )
  const what = repair ? 'repaired' : 'checked'
  if (isLockRefusal(result.stderr)) throw await lockError([source], `it is not ${what}`)
  const found = result.limit === undefined ? parseCheck(result.stdout) : undefined
  if (found) return found
  if (isWrongSecret(result.stderr)) throw wrongSecret(placeOf([source]), `it is not ${what}`)
  throw checkError(placeOf([source]), what, result)
}

/** What is encrypted in qcow2 has its header in the clear, so the bytes of the file are enough. */
async function lookAtTables(
  source: VolumeSource,
  { signal, jailed }: { readonly signal: AbortSignal; readonly jailed: JailedTools },
): Promise<Qcow2Table | undefined> {
  const { encryption: _, ...place } = source
  const file = { ...place, format: 'raw' as const }
  const opened = await openVolume([file], { access: 'look', fileSizeBytes: 0, signal, jailed })
  try {
    if (opened.sizeBytes < tablesHeaderBytes) return undefined
    return tableBehindEnd(await opened.read(0, tablesHeaderBytes), opened.sizeBytes)
  } finally {
    await opened.close()
  }
}

/** As `qemu-img check` writes it (qapi/block-core.json: ImageCheck); what it does not say is none. */
const imageCheck = z.object({
  'check-errors': z.int().nonnegative(),
  corruptions: z.int().nonnegative().default(0),
  leaks: z.int().nonnegative().default(0),
  'corruptions-fixed': z.int().nonnegative().default(0),
  'leaks-fixed': z.int().nonnegative().default(0),
  'total-clusters': z.int().nonnegative().optional(),
  'allocated-clusters': z.int().nonnegative().optional(),
  'compressed-clusters': z.int().nonnegative().optional(),
})

/** What `qemu-img check --output=json` found; undefined for a text that does not say. */
function parseCheck(text: string): VolumeCheck | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const { data } = imageCheck.safeParse(value)
  if (!data) return undefined
  const counts = {
    clusters: data['total-clusters'],
    allocatedClusters: data['allocated-clusters'],
    compressedClusters: data['compressed-clusters'],
  }
  return {
    corruptions: data.corruptions,
    leaks: data.leaks,
    errors: data['check-errors'],
    corruptionsFixed: data['corruptions-fixed'],
    leaksFixed: data['leaks-fixed'],
    ...Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== undefined)),
  }
}

function checkError(path: string, what: string, { exitCode, limit, stderr }: JailedToolResult): KvasirError {
  const cause = new Error(`qemu-img ended with exit code ${exitCode} and the limit ${limit}: ${stderr}`)
  const details = { path, stderr: stderr.slice(-500) }
  if (limit === 'file-size' || /No space left on device|Disk quota exceeded/.test(stderr))
    return new KvasirError('not-enough-space', `The disk of ${path} is full, so it was not ${what}.`, {
      details,
      cause,
    })
  if (/Could not open/.test(stderr))
    return new KvasirError(
      'volume-damaged',
      `The header or the first tables of ${path} are damaged, so it cannot be ${what}.`,
      { details, cause },
    )
  return new KvasirError('host-failed', `qemu-img could not look through ${path}, so it was not ${what}.`, {
    details,
    cause,
  })
}

/** What hangs is a pool that does not answer. */
async function hungIsUnreachable<T>(source: VolumeSource, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (!(cause instanceof PoolHung)) throw cause
    throw new KvasirError(
      'pool-unreachable',
      `What ${placeOf([source])} lies on does not answer: ${cause.message}.`,
      {
        cause,
      },
    )
  }
}
