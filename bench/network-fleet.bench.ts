/**
 * Fifty VMs with a NIC each, from the first request to the last one running, beside fifty taps made with `ip tuntap` and fifty QEMUs of
 * the same argv started by hand on them. The guests have no system to boot, so that what is measured is their start.
 */
import { endpoints } from '@kvasir/contract'
import { openNetworkRoom } from '../e2e/machine/network-room.ts'
import { likeRunning } from './bare-emulator.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { inParallel } from './in-parallel.ts'
import { interleave, timed } from './interleave.ts'
import { tell } from './report.ts'

const fleet = 50
/** As many are on their way at a time, here and there. */
const width = 2
const rounds = 3
const limit = 1.5
const bridge = 'br-bench'
const [ours, byHand] = ['kvasir', 'ip tuntap and bare QEMU'] as const
const spec = { memory: { size: '64MiB' }, nics: [{ name: 'net0', network: 'lan' }] }

await using room = await openNetworkRoom()
await using daemon = await BenchDaemon.open({ network: room.host.path })
await using made = new AsyncDisposableStack()
const machine = await describeMachine(daemon.client)
await daemon.client.call(endpoints.createNetwork, {
  body: { name: 'lan', bridge, ipv4: { subnet: '10.9.0.0/24' } },
})
made.defer(async () => {
  await daemon.client.call(endpoints.deleteNetwork, { params: { network: 'lan' } })
})
const names = Array.from({ length: fleet }, (_, number) => `vm${number}`)
for (const name of names) {
  await daemon.createVm(name, spec)
  made.defer(() => daemon.deleteVm(name))
}
const { pid } = await daemon.startVm('vm0')
const bare = names.map((_, number) => {
  const tap = { name: `benchtap${number}`, network: room.host.path }
  return { tap, emulator: likeRunning(pid, daemon.place, undefined, { name: tap.name, tap }) }
})
await daemon.powerOffVm('vm0')

const measured = await interleave(
  {
    [ours]: async () => {
      const ms = await timed(() => inParallel(names, width, (name) => daemon.startVm(name)))
      await inParallel(names, width, (name) => daemon.powerOffVm(name))
      return ms
    },
    [byHand]: async () => {
      await using ended = new AsyncDisposableStack()
      return await timed(() =>
        inParallel(bare, width, async ({ tap, emulator }) => {
          for (const words of [
            `tuntap add dev ${tap.name} mode tap`,
            `link set ${tap.name} master ${bridge} up`,
          ])
            await room.host.run('ip', ...words.split(' '))
          ended.defer(async () => {
            await room.host.run('ip', 'link', 'delete', tap.name)
          })
          const { end } = await emulator.start()
          ended.defer(end)
        }),
      )
    },
  },
  { rounds },
)
tell({
  name: 'network-fleet',
  machine,
  table: {
    head: [`ms for ${fleet} VMs`, 'median', 'least', 'for each'],
    rows: [ours, byHand].map((who) => {
      const { median, least } = measured.of(who)
      return [who, median, least, median / fleet]
    }),
  },
  targets: [
    {
      what: `start ${fleet} VMs with a NIC each, times by hand`,
      measured: measured.ratio(ours, byHand),
      limit,
      wanted: 'at most',
    },
  ],
  notes: [
    `${rounds} rounds in turn, ${width} starts at a time; by hand there is no cage, no rule and no reservation`,
  ],
  details: measured,
})
