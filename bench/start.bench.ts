/**
 * Starting a VM, from the API request to `running`, beside the same QEMU started by hand, from exec to the answer to `cont`. The daemon
 * does the whole of its work: job, store, cage, helpers, checks.
 */
import type { VmSpecInput } from '@kvasir/contract'
import { likeRunning } from './bare-emulator.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { interleave } from './interleave.ts'
import { type Target, tell } from './report.ts'
import { type StartSpan, stepsOf } from './start-steps.ts'

const rounds = 15
const stepRounds = 9
const limit = 1.5
const vm = 'bench'

const base: VmSpecInput = { image: 'tiny', memory: { size: '128MiB' } }
const variants: Readonly<Record<string, VmSpecInput>> = {
  'no NIC, no disk': base,
  'with a NIC': { ...base, nics: [{ name: 'net0' }] },
  'with a disk': { ...base, disks: [{ name: 'root', size: '1GiB' }] },
}

await using daemon = await BenchDaemon.open()
await using traced = await BenchDaemon.open({ tracesSteps: true })
const machine = await describeMachine(daemon.client)
const rows: (string | number)[][] = []
const targets: Target[] = []
const details: Record<string, unknown> = {}
const breakdown = new Map<string, ReadonlyMap<string, number>>()
const stepNames = new Set<string>()
for (const [name, spec] of Object.entries(variants)) {
  const measured = await compare(spec)
  const ours = measured.of('kvasir').median
  const bare = measured.of('bare').median
  const ratio = measured.ratio('kvasir', 'bare')
  const leastRatio = measured.of('kvasir').least / measured.of('bare').least
  const passt = measured.has('passt') ? measured.of('passt').median : '-'
  rows.push([name, ours, bare, passt, ours - bare, ratio, leastRatio])
  targets.push({ what: `start ${name}, times bare QEMU`, measured: ratio, limit, wanted: 'at most' })
  details[name] = measured
  const steps = await traceSteps(spec)
  for (const step of steps.keys()) stepNames.add(step)
  breakdown.set(name, steps)
}
tell({
  name: 'start',
  machine,
  table: {
    head: ['ms, median', 'kvasir', 'bare QEMU', 'passt alone', 'difference', 'ratio', 'ratio of the least'],
    rows,
  },
  targets,
  notes: [`${rounds} rounds in turn; bare QEMU has its passt running before it is started`],
  details,
})
tell({
  name: 'start-steps',
  machine,
  table: {
    head: ['ms, median', ...breakdown.keys()],
    rows: [...stepNames].map((step) => [step, ...breakdown.values().map((steps) => steps.get(step) ?? '-')]),
  },
  targets: [],
  notes: [`${stepRounds} starts of a daemon that writes down when each step ended`],
})

async function compare(spec: VmSpecInput) {
  await daemon.createVm(vm, spec)
  const bare = likeRunning((await daemon.startVm(vm)).pid, daemon.place)
  await daemon.powerOffVm(vm)
  const measureOurs = async () => {
    const { ms } = await daemon.startVm(vm)
    await daemon.powerOffVm(vm)
    return ms
  }
  const measured = await interleave(
    {
      kvasir: measureOurs,
      bare: () => bare.measure(),
      ...(bare.hasNic ? { passt: () => bare.measureHelper() } : {}),
    },
    { rounds },
  )
  await daemon.deleteVm(vm)
  return measured
}

/** The first start of a daemon compiles code, so it is not among those that are looked at. */
async function traceSteps(spec: VmSpecInput): Promise<ReadonlyMap<string, number>> {
  await traced.createVm(vm, spec)
  const starts: StartSpan[] = []
  for (let round = -1; round < stepRounds; round++) {
    const start = await traced.startVm(vm)
    if (round >= 0) starts.push(start)
    await traced.powerOffVm(vm)
  }
  await traced.deleteVm(vm)
  return stepsOf(starts, traced.timesFile)
}
