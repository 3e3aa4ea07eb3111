/**
 * 1,000 reads a second, half of one VM and half of the list, while one VM's QEMU is stopped with SIGSTOP, beside the same while none
 * is. Requests leave by the clock, whatever the answers do, and latency counts from when a request was due.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { routes } from '@kvasir/contract/routes'
import { VmHandle } from '../e2e/machine/vm-handle.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { fleetName, startFleet } from './fleet.ts'
import { tell } from './report.ts'
import { summarize } from './statistics.ts'

const perSecond = 1_000
const seconds = 10
const rounds = 2
const vms = 10
/** How much worse the slow end may be; below, it is the machine's own noise. */
const limit = 1.25

await using daemon = await BenchDaemon.open()
const machine = await describeMachine(daemon.client)
await startFleet(daemon, { from: 0, to: vms, running: 1 })
const { status } = await daemon.client.call(routes.getVm, { params: { name: fleetName(0) } })
const { pid } = status
if (pid === undefined) throw new Error('The VM that is to be stopped does not run.')

const series = { free: [] as number[], stopped: [] as number[] }
await new VmHandle(fleetName(0), () => daemon.client).waitForLogin()
await load(2)
for (let round = 0; round < rounds; round++) {
  series.free.push(...(await load(seconds)))
  process.kill(pid, 'SIGSTOP')
  try {
    series.stopped.push(...(await load(seconds)))
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await pause(1_000)
}
const free = summarize(series.free)
const stopped = summarize(series.stopped)
tell({
  name: 'reads',
  machine,
  table: {
    head: ['ms', 'reads', 'p50', 'p90', 'p99', 'most'],
    rows: [
      ['no QEMU is stopped', String(free.count), free.median, free.p90, free.p99, free.most],
      ['one QEMU is stopped', String(stopped.count), stopped.median, stopped.p90, stopped.p99, stopped.most],
    ],
  },
  targets: [
    {
      what: 'p50 with a stopped QEMU, times without',
      measured: stopped.median / free.median,
      limit,
      wanted: 'at most',
    },
    {
      what: 'p99 with a stopped QEMU, times without',
      measured: stopped.p99 / free.p99,
      limit,
      wanted: 'at most',
    },
  ],
  notes: [
    `${perSecond} reads a second for ${seconds} s, ${rounds} times in turn, ${vms} VMs that run or are paused`,
  ],
  details: { free, stopped },
})

/** Reads for some seconds; gives the latency of each, in milliseconds. */
async function load(forSeconds: number): Promise<readonly number[]> {
  const total = perSecond * forSeconds
  const latencies: number[] = []
  const pending: Promise<void>[] = []
  const startedAt = performance.now()
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * perSecond))
    for (; sent < due; sent++) {
      const dueAt = startedAt + (sent * 1000) / perSecond
      pending.push(read(sent).then(() => void latencies.push(performance.now() - dueAt)))
    }
    await pause(1)
  }
  await Promise.all(pending)
  return latencies
}

async function read(number: number): Promise<void> {
  if (number % 2 === 0) await daemon.client.call(routes.listVms)
  else await daemon.client.call(routes.getVm, { params: { name: fleetName((number >> 1) % vms) } })
}
