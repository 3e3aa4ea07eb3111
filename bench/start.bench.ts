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

const rounds = 15
const limit = 1.5

const base: VmSpecInput = { image: 'tiny', memory: { size: '128MiB' } }
const variants: Readonly<Record<string, VmSpecInput>> = {
  'no NIC, no disk': base,
  'with a NIC': { ...base, nics: [{ name: 'net0' }] },
  'with a disk': { ...base, disks: [{ name: 'root', size: '1GiB' }] },
}

await using daemon = await BenchDaemon.open()
const machine = await describeMachine(daemon.client)
const rows: (string | number)[][] = []
const targets: Target[] = []
const details: Record<string, unknown> = {}
for (const [name, spec] of Object.entries(variants)) {
  const measured = await compare(name.replaceAll(/[^a-z]/gi, '-'), spec)
  const ours = measured.of('kvasir').median
  const bare = measured.of('bare').median
  const ratio = measured.ratio('kvasir', 'bare')
  rows.push([name, ours, bare, measured.has('passt') ? measured.of('passt').median : '-', ours - bare, ratio])
  targets.push({ what: `start ${name}, times bare QEMU`, measured: ratio, limit, wanted: 'at most' })
  details[name] = measured
}
tell({
  name: 'start',
  machine,
  table: { head: ['ms, median', 'kvasir', 'bare QEMU', 'passt alone', 'difference', 'ratio'], rows },
  targets,
  notes: [`${rounds} rounds in turn; bare QEMU has its passt running before it is started`],
  details,
})

async function compare(name: string, spec: VmSpecInput) {
  await daemon.createVm(name, spec)
  const bare = likeRunning((await daemon.startVm(name)).pid, daemon.place)
  await daemon.powerOffVm(name)
  const measureOurs = async () => {
    const { ms } = await daemon.startVm(name)
    await daemon.powerOffVm(name)
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
  await daemon.deleteVm(name)
  return measured
}
