/** `kvasir network edit` and `kvasir network plan`: what is to be another of a network, the plan of it, then the change. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Network, NetworkChangeInput, NetworkPlan } from '@kvasir/contract'
import { exitCodes, KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { editedText } from '../vm/edit.ts'
import { parseYaml, readYaml } from '../vm/vm-file.ts'

const longestValue = 60

export const planNetwork: Action = async (context) => {
  const file = context.value('file')
  if (file === undefined)
    throw new UsageError('The file is missing.', 'Write: -f lan.yaml, or -f - to read stdin.')
  const plan = await planOf(context, changeOf(await readYaml(file), file))
  await context.output.result(plan, () => planText(plan, context))
  return undefined
}

export const editNetwork: Action = async (context) => {
  const file = context.value('file')
  const change = file === undefined ? await edited(context) : changeOf(await readYaml(file), file)
  if (change === undefined) {
    context.output.message('Nothing was changed.')
    return undefined
  }
  const plan = await planOf(context, change)
  context.output.stderr.write(await planText(plan, context))
  if (plan.action === 'nothing') return undefined
  const isAsked = !context.has('yes') && process.stdin.isTTY && process.stderr.isTTY
  const restarts = plan.action === 'restart'
  if (!(await confirm(context, restarts ? 'Apply this and restart the network?' : 'Apply this?')))
    return exitCodes.refused
  const network = await context.client.call(routes.changeNetwork, {
    params: byNetwork(context),
    query: { restart: String(context.has('restart') || (restarts && isAsked)) },
    body: change,
    signal: context.signal,
  })
  if (context.output.format === 'table') context.output.message(`Network ${network.name} is changed.`)
  else await context.output.result(network, () => '')
  return undefined
}

async function planOf(context: Context, change: NetworkChangeInput): Promise<NetworkPlan> {
  const { client, signal } = context
  return await client.call(routes.planNetwork, { params: byNetwork(context), body: change, signal })
}

/** What the person's editor makes of the network; undefined where nothing is another. The text is kept when it is refused. */
async function edited(context: Context): Promise<NetworkChangeInput | undefined> {
  const { stringify } = await import('yaml')
  const network = await context.client.call(routes.getNetwork, {
    params: byNetwork(context),
    signal: context.signal,
  })
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-edit-'))
  const file = join(folder, `${network.name}.yaml`)
  const original = stringify(changeable(network))
  await writeFile(file, original, { mode: 0o600 })
  const text = await editedText(context, file)
  const change = text === original ? undefined : changeOf(await parseYaml(text, file), file)
  await rm(folder, { recursive: true, force: true })
  return change
}

function changeable(network: Network): NetworkChangeInput {
  const { mode, ipv4, ipv6, domain, mtu, reservations, records, autostart } = network
  const { uplink, force, vlanAware } = network
  if (network.link !== undefined) return { macvtapMode: network.macvtapMode, mtu, autostart }
  if (mode === 'bridge') {
    const vlans = vlanAware ? { vlan: network.vlan ?? null, trunk: network.trunk ?? null } : {}
    return { ...(uplink === undefined ? {} : { uplink, force }), vlanAware, ...vlans, autostart }
  }
  return {
    mode,
    ipv4: ipv4 ? { ...ipv4, dhcp: ipv4.dhcp ?? false } : false,
    ipv6: ipv6 ? { subnet: ipv6.subnet, dhcp: ipv6.dhcp } : false,
    domain,
    mtu,
    reservations,
    records,
    autostart,
  }
}

/** The daemon's schema judges what is in it. */
function changeOf(content: unknown, shown: string): NetworkChangeInput {
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) return { ...content }
  throw new KvasirError(
    'bad-request',
    `${shown} holds no mapping; it takes fields of a network, such as domain or ipv4.`,
  )
}

async function planText(plan: NetworkPlan, { output }: Context): Promise<string> {
  if (plan.action === 'nothing') return `Network ${plan.name} already is that.\n`
  const { formatTable } = await import('../output/table.ts')
  return formatTable(
    plan.changes,
    [
      { title: 'FIELD', show: ({ field }) => field },
      { title: 'FROM', show: ({ from }) => valueText(from) },
      { title: 'TO', show: ({ to }) => valueText(to) },
      { title: 'EFFECT', show: ({ effect }) => effect },
      { title: 'REASON', show: ({ reason }) => reason },
    ],
    { bold: (text) => output.bold(text) },
  )
}

function valueText(value: unknown): string {
  if (value === null || value === undefined) return '-'
  const text = Array.isArray(value) ? value.map(wordsOf).join(', ') || 'none' : wordsOf(value)
  return text.length > longestValue ? `${text.slice(0, longestValue - 1)}…` : text
}

/** What a field holds, without the names of its parts: `10.9.0.2 10.9.0.99` of a range. */
function wordsOf(value: unknown): string {
  if (typeof value === 'object' && value !== null)
    return Object.values(value)
      .filter((part) => part !== null)
      .map(wordsOf)
      .join(' ')
  return String(value)
}

function byNetwork(context: Context): { network: string } {
  return { network: context.argument('NETWORK') }
}
