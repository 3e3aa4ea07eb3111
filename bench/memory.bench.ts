/**
 * What the daemon's memory grows by with each running VM: read from the kernel, as it is after some seconds of rest, without asking
 * the daemon to tidy up. Beside it, what a VM's other processes take: its emulator, and the keepers of its logs.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { startFleet } from './fleet.ts'
import { processesBelow, programOf, pssMib } from './process-memory.ts'
import { tell } from './report.ts'

const sizes = [1, 10, 100]
const restMs = 5_000
const limitMib = 1

await using daemon = await BenchDaemon.open()
const machine = await describeMachine(daemon.client)
await pause(restMs)
const empty = pssMib(daemon.pid)
const readings: {
  readonly vms: number
  readonly mib: number
  readonly emulators: number
  readonly keepers: number
}[] = []
for (const [at, vms] of sizes.entries()) {
  await startFleet(daemon, { from: sizes[at - 1] ?? 0, to: vms, running: 0 })
  await pause(restMs)
  const others = processesBelow(daemon.place.prefix)
  const isEmulator = (pid: number) => programOf(pid).startsWith('qemu')
  readings.push({
    vms,
    mib: pssMib(daemon.pid),
    emulators: sum(others.filter(isEmulator).map(pssMib)) / vms,
    keepers: sum(others.filter((pid) => !isEmulator(pid)).map(pssMib)) / vms,
  })
}
const last = readings.at(-1)
tell({
  name: 'memory',
  machine,
  table: {
    head: [
      'running VMs',
      'daemon, MiB',
      'more than with none',
      'daemon per VM',
      'log keepers per VM',
      'QEMU per VM',
    ],
    rows: [
      ['0', empty, 0, '-', '-', '-'],
      ...readings.map(({ vms, mib, emulators, keepers }) => [
        String(vms),
        mib,
        mib - empty,
        (mib - empty) / vms,
        keepers,
        emulators,
      ]),
    ],
  },
  targets: [
    {
      what: 'MiB of daemon memory per VM at 100 VMs',
      measured: last ? (last.mib - empty) / last.vms : Number.NaN,
      limit: limitMib,
      wanted: 'at most',
    },
  ],
  notes: [
    'proportional set sizes; the first starts also load code that stays, so the growth with one VM is not its own',
  ],
  details: { empty, readings },
})

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
