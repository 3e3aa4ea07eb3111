/**
 * `kvasir vm list` with 100 VMs, beside an empty program of the same Node and beside `virsh list --all` with 100 domains: what a person
 * waits for.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { environmentOf } from '../e2e/machine/place.ts'
import { lacking } from '../tools/require.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { domainXml } from './domain-xml.ts'
import { interleave, timed } from './interleave.ts'
import { libvirtMissing, openLibvirt } from './private-libvirt.ts'
import { tell } from './report.ts'

const run = promisify(execFile)
const count = 100
const rounds = 30
const launcher = join(import.meta.dirname, '../kvasir')

await using daemon = await BenchDaemon.open()
await using libvirt = await openLibvirt(daemon.place)
if (!libvirt) lacking('libvirt', libvirtMissing)
const machine = await describeMachine(daemon.client)
for (let number = 0; number < count; number++) {
  const name = `vm${String(number).padStart(3, '0')}`
  await daemon.createVm(name, { image: 'tiny', memory: { size: '64MiB' } })
  await libvirt?.define(domainXml(name, { kernel: '/boot/vmlinuz', initrd: '/boot/initrd', memoryMib: 64 }))
}

const env = { ...process.env, ...environmentOf(daemon.place) }
const list = () => run(launcher, ['vm', 'list'], { env })
const shown = (await list()).stdout.split('\n').filter((line) => /^vm\d/.test(line)).length
if (shown !== count) throw new Error(`kvasir vm list shows ${shown} VMs of ${count}.`)

const measured = await interleave(
  {
    kvasir: () => timed(list),
    'node -e 0': () => timed(() => run(process.execPath, ['-e', '0'])),
    ...(libvirt ? { virsh: () => timed(() => libvirt.virsh('list', '--all')) } : {}),
  },
  { rounds },
)
const names = ['kvasir', 'node -e 0', ...(libvirt ? ['virsh'] : [])]
tell({
  name: 'list',
  machine,
  table: {
    head: ['ms', 'median', 'p90', 'least', 'times node -e 0'],
    rows: names.map((name) => {
      const { median, p90, least } = measured.of(name)
      return [name, median, p90, least, measured.ratio(name, 'node -e 0')]
    }),
  },
  targets: [
    {
      what: 'kvasir vm list, times node -e 0',
      measured: measured.ratio('kvasir', 'node -e 0'),
      limit: 2.5,
      wanted: 'at most',
    },
  ],
  notes: [`${count} VMs, ${rounds} rounds in turn`, ...(libvirt ? [libvirt.description] : [])],
  details: measured,
})
