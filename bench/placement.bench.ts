/**
 * Where dedicated VMs end up on one host, by Kvasir's planner and by the default of OpenStack Nova: how many are turned away, how many
 * are on more L3 domains than they need, how many share a core with another VM. Nothing is started; seeds make it the same everywhere.
 */
import { describeHere } from './describe-machine.ts'
import { kvasirPolicy, movingPolicy, novaPolicy } from './placement-policies.ts'
import { makeArrivals, type Outcome, type Policy, simulate } from './placement-simulation.ts'
import { tell } from './report.ts'

const arrivalsEach = 3000
const seeds = [1, 2, 3, 4, 5]
const load = 0.9

/** vCPUs of the VMs, each as likely as it is listed. */
const mixes = {
  'powers of two': [1, 2, 4, 8, 16],
  'mostly small': [1, 2, 2, 4, 4, 8, 16],
  'with 3, 6 and 12': [1, 2, 3, 4, 6, 8, 12, 16],
  'any of 1 to 16': Array.from({ length: 16 }, (_, index) => index + 1),
} as const
const policies: Readonly<Record<string, () => Policy>> = {
  kvasir: kvasirPolicy,
  'kvasir, moving': movingPolicy,
  nova: novaPolicy,
}

interface Result {
  readonly mix: string
  readonly policy: string
  readonly outcome: Outcome
  readonly microseconds: number
}

const results = Object.entries(mixes).flatMap(([mix, sizes]) =>
  Object.entries(policies).map(([policy, make]) => run(mix, { sizes, policy, make })),
)

function run(
  mix: string,
  {
    sizes,
    policy,
    make,
  }: { readonly sizes: readonly number[]; readonly policy: string; readonly make: () => Policy },
): Result {
  const began = performance.now()
  const outcomes = seeds.map((seed) => simulate(makeArrivals(arrivalsEach, { seed, load, sizes }), make()))
  const sum = (pick: (outcome: Outcome) => number) => outcomes.reduce((total, one) => total + pick(one), 0)
  const outcome = {
    arrivals: sum((one) => one.arrivals),
    rejected: sum((one) => one.rejected),
    moreL3: sum((one) => one.moreL3),
    unavoidable: sum((one) => one.unavoidable),
    sharedCore: sum((one) => one.sharedCore),
    moved: sum((one) => one.moved),
  }
  return { mix, policy, outcome, microseconds: ((performance.now() - began) * 1000) / outcome.arrivals }
}

function rowOf({ mix, policy, outcome, microseconds }: Result): readonly (string | number)[] {
  const { arrivals, rejected, moreL3, unavoidable, sharedCore, moved } = outcome
  const percent = (part: number, whole: number) => (100 * part) / whole
  const placed = arrivals - rejected
  return [
    `${mix}, ${policy}`,
    percent(rejected, arrivals),
    percent(moreL3, placed),
    percent(unavoidable, placed),
    percent(sharedCore, placed),
    percent(moved, placed),
    microseconds,
  ]
}

const targets = [
  { mix: 'powers of two', policy: 'kvasir' },
  ...Object.keys(mixes).map((mix) => ({ mix, policy: 'kvasir, moving' })),
].flatMap(({ mix, policy }) => {
  const outcome = results.find((one) => one.mix === mix && one.policy === policy)?.outcome
  if (outcome === undefined) return []
  const measured = (100 * outcome.moreL3) / (outcome.arrivals - outcome.rejected)
  return [
    {
      what: `VMs on more L3 domains than needed, ${mix}, ${policy}`,
      measured,
      limit: 5,
      wanted: 'at most' as const,
    },
  ]
})
tell({
  name: 'placement',
  machine: await describeHere(),
  table: {
    head: [
      'percent of VMs',
      'rejected',
      'on more L3 than needed',
      'of them unavoidable',
      'sharing a core',
      'moved for others',
      'µs each',
    ],
    rows: results.map(rowOf),
  },
  targets,
  notes: [
    `2 nodes x 4 L3 x 4 cores x 2 threads, one core kept for the host; ${arrivalsEach} arrivals, load ${load}, ${seeds.length} seeds`,
    'unavoidable: when the VM came, the emptiest L3 domains of no node had room for it on as few as it needs; moving: one VM at most is moved within its node',
  ],
  details: results,
})
