/** The verbs of pools. */
import type { Pool } from '@kvasir/contract'
import { exitCodes } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import type { Context } from '../context.ts'
import { localTime } from '../output/time.ts'
import { UsageError } from '../usage-error.ts'
import { newPoolOf } from './new-pool.ts'

/** Findings that are shown one by one. */
const shownFindings = 20

export const listPools: Action = async ({ client, output, signal }) => {
  const pools = await client.call(routes.listPools, { signal })
  await output.rows<Pool>(
    pools,
    [
      { title: 'NAME', show: (pool) => pool.name },
      { title: 'TYPE', show: (pool) => pool.type },
      { title: 'STATE', show: (pool) => pool.state },
      { title: 'HEALTH', show: (pool) => pool.health },
      { title: 'CAPACITY', show: (pool) => size(pool.capacityBytes), right: true },
      { title: 'AVAILABLE', show: (pool) => size(pool.availableBytes), right: true },
      { title: 'PROVISIONED', show: (pool) => size(pool.provisionedBytes), right: true },
      { title: 'VOLUMES', show: (pool) => String(pool.volumes), right: true },
      { title: 'AUTOSTART', show: (pool) => (pool.autostart ? 'on' : 'off') },
      { title: 'PLACE', show: (pool) => pool.place },
    ],
    'There are no pools.',
  )
  return undefined
}

export const showPool: Action = async (context) => {
  const { client, signal } = context
  const pool = await client.call(routes.getPool, { params: byPool(context), signal })
  await print(context, pool)
  return undefined
}

export const createPool: Action = async (context) => {
  const name = context.argument('POOL')
  const pool = await context.client.call(routes.createPool, {
    body: newPoolOf(context),
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  const free = pool.availableBytes === undefined ? '' : ` with ${formatBytes(pool.availableBytes)} available`
  await say(context, pool, `Pool ${name} is created${free}. Use it: ${firstUse(pool)}`)
  return undefined
}

/** What comes next: a LUN is made on its server. */
function firstUse({ name, type }: Pool): string {
  return type === 'iscsi'
    ? `kvasir volume import ${name}/NAME lun-1 --format raw`
    : `kvasir volume create ${name}/NAME --size 20GiB`
}

/** Refreshes a pool and says whether all is well there, for scripts by its exit code. */
export const checkPool: Action = async (context) => {
  const { client, output, signal } = context
  const pool = await client.call(routes.refreshPool, { params: byPool(context), signal })
  const { name, health, remarks, findings = [] } = pool
  const lines = [
    ...remarks,
    ...findings.map(({ kind, file, volume, detail }) => `${kind} ${volume ?? file}: ${detail}`),
  ]
  const isWell = health !== 'bad' && health !== 'warning'
  const first = `Pool ${name} answers, and ${isWell ? 'all is well' : `its health is ${health}`}.`
  await output.result(pool, () => [first, ...lines, ''].join('\n'))
  return health === 'bad' ? exitCodes.refused : undefined
}

export const refreshPool: Action = async (context) => {
  const { client, output, signal } = context
  const pool = await client.call(routes.refreshPool, { params: byPool(context), signal })
  if (output.format !== 'table') {
    await output.result(pool, () => '')
    return undefined
  }
  const findings = pool.findings ?? []
  await output.rows(
    findings,
    [
      { title: 'FINDING', show: ({ kind }) => kind },
      { title: 'FILE', show: ({ file }) => file },
      { title: 'SIZE', show: ({ sizeBytes }) => size(sizeBytes), right: true },
      { title: 'DETAIL', show: ({ detail }) => detail },
    ],
    `Pool ${pool.name} holds what it should: ${pool.volumes} volumes.`,
  )
  return undefined
}

export const startPool: Action = async (context) => {
  const pool = await context.client.call(routes.startPool, {
    params: byPool(context),
    signal: context.signal,
  })
  await say(
    context,
    pool,
    `Pool ${pool.name} is ${pool.state}${pool.state === 'active' ? '' : `: ${pool.reason}`}.`,
  )
  return pool.state === 'active' ? undefined : 1
}

export const stopPool: Action = async (context) => {
  const pool = await context.client.call(routes.stopPool, { params: byPool(context), signal: context.signal })
  await say(context, pool, `Pool ${pool.name} is stopped.`)
  return undefined
}

export const setAutostart: Action = async (context) => {
  const word = context.argument('ON')
  if (word !== 'on' && word !== 'off')
    throw new UsageError(`Autostart cannot be ${JSON.stringify(word)}.`, 'Write on or off.')
  const pool = await context.client.call(routes.changePool, {
    params: byPool(context),
    body: { autostart: word === 'on' },
    signal: context.signal,
  })
  await say(context, pool, `Pool ${pool.name} is ${word === 'on' ? '' : 'not '}started when the host boots.`)
  return undefined
}

export const setLayers: Action = async (context) => {
  const layersIn = context.argument('IN')
  const pool = await context.client.call(routes.changePool, {
    params: byPool(context),
    body: { layersIn },
    signal: context.signal,
  })
  await say(context, pool, `New layers over volumes of pool ${pool.name} lie in pool ${layersIn}.`)
  return undefined
}

export const deletePool: Action = async (context) => {
  const params = byPool(context)
  const removes = context.has('remove-data')
  const question = removes
    ? `Delete pool ${params.pool} and every volume in it?`
    : `Delete pool ${params.pool}? Its volumes stay where they lie.`
  if (!(await confirm(context, question))) return 1
  await context.client.call(routes.deletePool, {
    params,
    query: { data: removes ? 'remove' : 'keep' },
    signal: context.signal,
  })
  context.output.message(
    `Pool ${params.pool} is deleted${removes ? ' with its volumes' : '; what lay in it is still there'}.`,
  )
  return undefined
}

function byPool(context: Context): { pool: string } {
  return { pool: context.argument('POOL') }
}

async function say(context: Context, pool: Pool, sentence: string): Promise<void> {
  if (context.output.format === 'table') context.output.message(sentence)
  else await context.output.result(pool, () => '')
}

async function print({ output }: Context, pool: Pool): Promise<void> {
  await output.properties(pool, () => ({
    Name: pool.name,
    Type: pool.type,
    Place: pool.place,
    State: `${pool.state}: ${pool.reason}`,
    Since: localTime(pool.since),
    Health: [pool.health, ...pool.remarks],
    Autostart: pool.autostart ? 'on' : 'off',
    'Layers in': pool.layersIn,
    Capacity: size(pool.capacityBytes),
    Allocated: size(pool.allocatedBytes),
    Available: size(pool.availableBytes),
    Provisioned: `${size(pool.provisionedBytes)} in ${pool.volumes} volumes`,
    'Can do': canDo(pool),
    Findings: findingLines(pool),
    'Last seen': pool.seenAt === undefined ? 'never' : localTime(pool.seenAt),
    Created: localTime(pool.createdAt),
  }))
}

function canDo({ capabilities: it }: Pool): string {
  return [
    it.formats.join(' and '),
    ...(it.linkedClones ? [it.independentClones ? 'clones of its own' : 'linked clones'] : []),
    ...(it.nativeSnapshots ? ['snapshots of its own'] : []),
    ...(it.importInPlace ? ['import in place'] : []),
  ].join(', ')
}

function findingLines({ findings }: Pool): string | string[] {
  if (findings === undefined) return 'not looked for yet: kvasir pool refresh'
  if (findings.length === 0) return 'none'
  const shown = findings.slice(0, shownFindings).map(({ kind, file }) => `${kind} ${file}`)
  const rest = findings.length - shown.length
  return rest > 0 ? [...shown, `and ${rest} more`] : shown
}

function size(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : formatBytes(bytes)
}
