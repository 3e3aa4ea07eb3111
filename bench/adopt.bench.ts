/**
 * Adoption: 100 VMs run, the daemon is killed, and the next one is started. Counted is the time from the start of its process until it
 * answers, with every VM in the state in which it was. The peer is the same daemon with no VM.
 */
import { endpoints } from '@kvasir/contract'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { fleetName, startFleet } from './fleet.ts'
import { interleave } from './interleave.ts'
import { tell } from './report.ts'

const count = 100
/** Guests that go on running; the others are paused, so that they leave the CPUs to the daemon. */
const running = 4
const rounds = 5
const limitMs = 2_000

await using idle = await BenchDaemon.open()
await using daemon = await BenchDaemon.open()
const machine = await describeMachine(daemon.client)
await startFleet(daemon, { from: 0, to: count, running })

const measured = await interleave(
  {
    'no VM': () => idle.crashAndRestart(),
    '100 VMs': async () => {
      const ms = await daemon.crashAndRestart()
      await requireStates()
      return ms
    },
  },
  { rounds },
)
tell({
  name: 'adopt',
  machine,
  table: {
    head: ['ms until it serves', 'median', 'least', 'most'],
    rows: ['no VM', '100 VMs'].map((name) => {
      const { median, least, most } = measured.of(name)
      return [name, median, least, most]
    }),
  },
  targets: [
    {
      what: 'ms from kill -9 and a new process until 100 VMs are adopted',
      measured: measured.of('100 VMs').median,
      limit: limitMs,
      wanted: 'at most',
    },
  ],
  notes: [
    `${running} VMs run and ${count - running} are paused; after each of ${rounds} rounds every one was in its state`,
    `${((measured.of('100 VMs').median - measured.of('no VM').median) / count).toFixed(1)} ms a VM beyond the start of the daemon`,
  ],
  details: measured,
})

async function requireStates(): Promise<void> {
  const states = new Map(
    (await daemon.client.call(endpoints.listVms)).map((vm) => [vm.name, vm.status.state]),
  )
  for (let number = 0; number < count; number++) {
    const wanted = number < running ? 'running' : 'paused'
    const found = states.get(fleetName(number))
    if (found !== wanted)
      throw new Error(`VM ${fleetName(number)} is ${found} and not ${wanted} after adoption.`)
  }
}
