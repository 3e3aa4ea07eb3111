/**
 * What a NIC on a network costs a start: the same VM with one and without, in turn, beside the tap that somebody makes by hand with ip(8).
 * A daemon of its own in a network namespace of its own, so that nothing is made in the machine's network.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { endpoints, type VmSpecInput } from '@kvasir/contract'
import { openNetworkRoom } from '../e2e/machine/network-room.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { interleave, timed } from './interleave.ts'
import { tell } from './report.ts'
import { stepsOf } from './start-steps.ts'

const run = promisify(execFile)
const rounds = 15
const stepRounds = 9
const limitMs = 15
const tap = 'benchtap'
const bridge = 'br-bench'

const bare: VmSpecInput = { image: 'tiny', memory: { size: '128MiB' } }
const nic = { name: 'net0', network: 'lan' }
const variants: Readonly<Record<string, VmSpecInput>> = {
  none: bare,
  plain: { ...bare, nics: [nic] },
  guarded: { ...bare, nics: [{ ...nic, antiSpoof: true, isolated: true }] },
}

await using room = await openNetworkRoom()
await using daemon = await BenchDaemon.open({ network: room.host.path })
await using traced = await BenchDaemon.open({ network: room.host.path, tracesSteps: true })
await using made = new AsyncDisposableStack()
for (const [each, name, subnet] of [
  [daemon, bridge, '10.9.0.0/24'],
  [traced, `${bridge}2`, '10.8.0.0/24'],
] as const)
  await open(each, { bridge: name, subnet })

const start = (name: string) => async () => {
  const { ms } = await daemon.startVm(name)
  await daemon.powerOffVm(name)
  return ms
}
const measured = await interleave(
  {
    none: start('none'),
    plain: start('plain'),
    guarded: start('guarded'),
    steps: () =>
      byHand([`tuntap add dev ${tap} mode tap`, `link set ${tap} master ${bridge}`, `link set ${tap} up`]),
  },
  { rounds },
)
const cost = measured.of('plain').median - measured.of('none').median
const leastCost = measured.of('plain').least - measured.of('none').least
const guardedCost = measured.of('guarded').median - measured.of('none').median
tell({
  name: 'network',
  machine: await describeMachine(daemon.client),
  table: {
    head: ['ms, median', 'start', 'more than without', 'least, more than without'],
    rows: [
      ['without a NIC', measured.of('none').median, '-', '-'],
      ['with a NIC on a network', measured.of('plain').median, cost, leastCost],
      [
        'with a guarded one',
        measured.of('guarded').median,
        guardedCost,
        measured.of('guarded').least - measured.of('none').least,
      ],
      ['a tap by hand, three ip(8)', '-', measured.of('steps').median, measured.of('steps').least],
    ],
  },
  targets: [{ what: 'NIC set-up, ms', measured: cost, limit: limitMs, wanted: 'at most' }],
  notes: [`${rounds} rounds in turn; by hand there is no QEMU, no rule and no reservation`],
  details: { measured },
})
const steps = { without: await traceSteps('none'), with: await traceSteps('plain') }
tell({
  name: 'network-steps',
  machine: await describeMachine(traced.client),
  table: {
    head: ['ms, median', 'without a NIC', 'with a NIC on a network'],
    rows: [...steps.with.keys()].map((step) => [
      step,
      steps.without.get(step) ?? '-',
      steps.with.get(step) ?? '-',
    ]),
  },
  targets: [],
  notes: [`${stepRounds} starts of a daemon that writes down when each step ended`],
})

/** A daemon's network and VMs, for as long as is measured. */
async function open(
  each: BenchDaemon,
  at: { readonly bridge: string; readonly subnet: string },
): Promise<void> {
  const body = { name: 'lan', bridge: at.bridge, ipv4: { subnet: at.subnet } }
  await each.client.call(endpoints.createNetwork, { body })
  made.defer(async () => {
    await each.client.call(endpoints.deleteNetwork, { params: { network: 'lan' } })
  })
  for (const [name, spec] of Object.entries(variants)) {
    await each.createVm(name, spec)
    made.defer(() => each.deleteVm(name))
  }
}

async function byHand(commands: readonly string[]): Promise<number> {
  const ip = (words: string) => run('ip', ['-n', room.host.name, ...words.split(' ')])
  const ms = await timed(async () => {
    for (const command of commands) await ip(command)
  })
  await ip(`link delete ${tap}`)
  return ms
}

/** The first start of a daemon compiles code, so it is not among those that are looked at. */
async function traceSteps(name: keyof typeof variants): Promise<ReadonlyMap<string, number>> {
  const spans = []
  for (let round = -1; round < stepRounds; round++) {
    const span = await traced.startVm(name)
    await traced.powerOffVm(name)
    if (round >= 0) spans.push(span)
  }
  return stepsOf(spans, traced.timesFile)
}
