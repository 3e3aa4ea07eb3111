/**
 * `kvasir vm start` beside `virsh start` of the same guest: both as a person types them, from the exec of the command to its end, with
 * the VM running. The same kernel, initrd, memory and devices; ours in its whole cage, libvirt's in its own default.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { environmentOf } from '../e2e/machine/place.ts'
import { lacking } from '../tools/require.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { domainXml } from './domain-xml.ts'
import { type Comparison, interleave, timed } from './interleave.ts'
import { type Libvirt, libvirtMissing, openLibvirt } from './private-libvirt.ts'
import { tell } from './report.ts'

const run = promisify(execFile)
const rounds = 15
const limit = 3
const memoryMib = 128
const name = 'peer'
const launcher = join(import.meta.dirname, '../kvasir')

await using daemon = await BenchDaemon.open()
await using libvirt = await openLibvirt(daemon.place)
if (libvirt) await report(libvirt)
else lacking('libvirt', libvirtMissing)

async function report(peer: Libvirt): Promise<void> {
  const machine = await describeMachine(daemon.client)
  const measured = await compare(peer)
  tell({
    name: 'start-virsh',
    machine,
    table: {
      head: ['ms', 'median', 'p90', 'least'],
      rows: ['kvasir vm start', 'virsh start'].map((command) => {
        const { median, p90, least } = measured.of(command)
        return [command, median, p90, least]
      }),
    },
    targets: [
      {
        what: 'kvasir vm start, times faster than virsh start',
        measured: measured.ratio('virsh start', 'kvasir vm start'),
        limit,
        wanted: 'at least',
      },
    ],
    notes: [`${rounds} rounds in turn`, peer.description],
    details: measured,
  })
}

async function compare(peer: Libvirt): Promise<Comparison> {
  await daemon.createVm(name, {
    image: 'tiny',
    memory: { size: `${memoryMib}MiB` },
    devices: { vsock: false },
  })
  const { pid } = await daemon.startVm(name)
  const [kernel, initrd] = await Promise.all(
    ['kernel', 'initrd'].map((file) => peer.lend(`/proc/${pid}/root/boot/${file}`)),
  )
  if (kernel === undefined || initrd === undefined) throw new Error('The tiny guest boots no kernel.')
  await daemon.powerOffVm(name)
  await peer.define(domainXml(name, { kernel, initrd, memoryMib }))

  const env = { ...process.env, ...environmentOf(daemon.place) }
  return interleave(
    {
      'kvasir vm start': async () => {
        const ms = await timed(() => run(launcher, ['vm', 'start', name], { env }))
        await daemon.powerOffVm(name)
        return ms
      },
      'virsh start': async () => {
        const ms = await timed(() => peer.virsh('start', name))
        await peer.virsh('destroy', name)
        return ms
      },
    },
    { rounds },
  )
}
