/**
 * Clients that do random things to VMs of their own, each knowing what the daemon has acknowledged: the model that a kill is judged by.
 *
 * A client does one thing at a time. What was acknowledged must be there afterwards; what was under way may be done or undone, and
 * nothing else.
 */
import { randomInt } from 'node:crypto'
import { endpoints, KvasirError, type Vm, type VmSpecInput } from '@kvasir/contract'
import type { World } from './world.ts'

/** What a client believes of one of its VMs. */
export type Belief = 'absent' | 'shutoff' | 'crashed' | 'running' | 'saved'

/** A VM of a client: what was acknowledged, and what it may have become by what was under way when the daemon died. */
export interface Claim {
  readonly name: string
  state: Belief
  /** The process of its emulator when it was last seen running. */
  pid: number | undefined
  underWay: { readonly action: string; readonly leadsTo: Belief } | undefined
  /** Its emulator was killed, so it may have crashed. */
  wasHit: boolean
}

/** One client. */
export interface RandomClient {
  readonly claims: readonly Claim[]
  /** What went wrong that no kill explains. */
  readonly problems: string[]
  readonly actions: () => number
  /** Does one thing after another until the daemon is gone or the signal aborts. */
  run(world: World, signal: AbortSignal): Promise<void>
}

const beliefs: readonly Belief[] = ['absent', 'shutoff', 'crashed', 'running', 'saved']
const small: VmSpecInput = { memory: { size: '32MiB' }, devices: { vnc: false, vsock: false, rng: false } }
const withDisk: VmSpecInput = {
  ...small,
  disks: [{ name: 'root', size: '64MiB' }],
  cloudInit: { hostname: 'random' },
}

interface Action {
  readonly name: string
  readonly leadsTo: Belief
  /** Another VM of the client that it makes. */
  readonly makes?: Claim
  readonly work: () => Promise<unknown>
}

/** Makes a client with some VMs, none of which exists yet. */
export function randomClient(prefix: string, vms: number): RandomClient {
  const claims = Array.from(
    { length: vms },
    (_, index): Claim => ({
      name: `${prefix}${index}`,
      state: 'absent',
      pid: undefined,
      underWay: undefined,
      wasHit: false,
    }),
  )
  const problems: string[] = []
  let actions = 0
  return {
    claims,
    problems,
    actions: () => actions,
    async run(world, signal) {
      while (!signal.aborted) {
        const claim = pick(claims)
        const action = pick(actionsOn(claim, claims, world))
        const subject = action.makes ?? claim
        subject.underWay = { action: action.name, leadsTo: action.leadsTo }
        try {
          await action.work()
          await settle(subject, action.leadsTo, world)
          actions++
        } catch (error) {
          if (isGone(error)) return
          if (claim.wasHit || subject.wasHit) return
          problems.push(`${action.name} of ${claim.name}: ${String(error)}`)
          return
        }
      }
    },
  }
}

async function settle(claim: Claim, state: Belief, world: World): Promise<void> {
  claim.state = state
  claim.underWay = undefined
  claim.pid = undefined
  if (state === 'running') claim.pid = (await world.vm(claim.name).show()).status.pid
}

function actionsOn(claim: Claim, claims: readonly Claim[], world: World): readonly Action[] {
  const vm = world.vm(claim.name)
  const cut: Action = { name: 'power-off', leadsTo: 'shutoff', work: () => vm.powerOff() }
  const start: Action = { name: 'start', leadsTo: 'running', work: () => vm.start() }
  const discard: Action = { name: 'delete', leadsTo: 'absent', work: () => vm.delete({ disks: true }) }
  switch (claim.state) {
    case 'absent':
      return [
        {
          name: 'create',
          leadsTo: 'shutoff',
          work: () => create(claim.name, pick([small, withDisk]), world),
        },
      ]
    case 'shutoff':
    case 'crashed': {
      const free = claims.find((other) => other.state === 'absent')
      const mode = pick(['linked', 'full'] as const)
      const clone: readonly Action[] = free
        ? [{ name: `clone ${mode}`, leadsTo: 'shutoff', makes: free, work: () => vm.clone(free.name, mode) }]
        : []
      return [start, start, start, discard, ...clone]
    }
    case 'running':
      return [cut, { name: 'save', leadsTo: 'saved', work: () => vm.save() }]
    case 'saved':
      return [start, start, { name: 'discard', leadsTo: 'shutoff', work: () => vm.discardSaved() }, discard]
  }
}

function create(name: string, spec: VmSpecInput, world: World): Promise<Vm> {
  return world.client.call(endpoints.createVm, { body: { name, spec } })
}

/** Judges what is there after a restart by what was acknowledged, and takes it as the new truth. */
export function judge(client: RandomClient, vms: readonly Vm[]): readonly string[] {
  const problems: string[] = []
  for (const claim of client.claims) {
    const vm = vms.find(({ name }) => name === claim.name)
    const is = vm?.status.state ?? 'absent'
    const allowed = new Set<string>([claim.state, claim.underWay?.leadsTo ?? claim.state])
    if (claim.state === 'crashed' && claim.underWay) allowed.add('shutoff') // A start that was undone.
    if (claim.wasHit) {
      allowed.add('crashed')
      allowed.delete('running')
      if (claim.underWay?.action === 'start') allowed.add('shutoff').add('running')
    }
    if (!allowed.has(is))
      problems.push(
        `VM ${claim.name} was ${claim.state}${claim.underWay ? `, ${claim.underWay.action} was under way` : ''}` +
          `${claim.wasHit ? ', its emulator was killed' : ''}; it is ${is}: ${vm?.status.reason ?? ''}.`,
      )
    const runsOn = is === 'running' && claim.state === 'running' && !claim.underWay && !claim.wasHit
    if (runsOn && claim.pid !== undefined && vm?.status.pid !== claim.pid)
      problems.push(`VM ${claim.name} ran as process ${claim.pid} and runs as ${vm?.status.pid}.`)
    claim.state = beliefs.find((belief) => belief === is) ?? 'shutoff'
    claim.pid = vm?.status.pid
    claim.underWay = undefined
    claim.wasHit = false
  }
  return problems
}

function isGone(error: unknown): boolean {
  return error instanceof KvasirError && (error.code === 'unreachable' || error.code === 'shutting-down')
}

function pick<T>(items: readonly T[]): T {
  const item = items[randomInt(items.length)]
  if (item === undefined) throw new Error('Nothing to pick from.')
  return item
}
