/**
 * Snapshots of a disk while its guest writes to it without a break, beside the same done by hand over QMP: `qemu-img create`,
 * `blockdev-add`, `blockdev-snapshot`. The pause is how long the disk's requests waited: of ours what the snapshot itself tells, by hand
 * how long QEMU took to answer, within which they waited. Both disks are what they are by default, so the page cache of the host holds what
 * they were given, and QEMU flushes it within the moment.
 */
import { execFile } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endpoints } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { bootBareGuest } from './bare-guest.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { guestOf, untilBooted } from './guest-shell.ts'
import { interleave, timed } from './interleave.ts'
import { tell } from './report.ts'

const run = promisify(execFile)
const rounds = 9
const limit = 1.2
/** What a guest does not notice: tens of milliseconds. */
const pauseLimitMs = 20
const memoryMib = 128
const name = 'bench'
const capacity = '256M'
const writing =
  '(while :; do dd if=/dev/zero of=/dev/vda bs=64k count=4000 oflag=direct; done) </dev/null >/dev/null 2>&1 &'

await using daemon = await BenchDaemon.open()
const machine = await describeMachine(daemon.client)
await daemon.createVm(name, {
  image: 'tiny',
  memory: { size: `${memoryMib}MiB` },
  disks: [{ name: 'data', size: '256MiB' }],
})
const { pid } = await daemon.startVm(name)
const [kernel = '', initrd = ''] = ['kernel', 'initrd'].map((file) => {
  const copy = join(daemon.place.base, file)
  copyFileSync(`/proc/${pid}/root/boot/${file}`, copy)
  return copy
})
await using own = guestOf(daemon, name)
await untilBooted(own)
let layer = join(daemon.place.base, 'bare0.qcow2')
let layers = 0
await run('qemu-img', ['create', '-q', '-f', 'qcow2', layer, capacity])
await using byHand = await bootBareGuest({
  folder: join(daemon.place.base, 'bare'),
  kernel,
  initrd,
  memoryMib,
  drive: `if=virtio,format=qcow2,node-name=layer0,file=${layer}`,
})
await own.shell(writing)
await byHand.shell(writing)

const measured = await interleave(
  {
    'kvasir: the whole': () => timed(takeOurs),
    'by hand: the whole': () => timed(takeByHand),
    'kvasir: pause': takeOurs,
    'by hand: pause': takeByHand,
  },
  { rounds },
)
tell({
  name: 'storage-snapshots',
  machine,
  table: {
    head: ['ms', 'median', 'p90', 'least'],
    rows: ['kvasir: the whole', 'by hand: the whole', 'kvasir: pause', 'by hand: pause'].map((who) => {
      const { median, p90, least } = measured.of(who)
      return [who, median, p90, least]
    }),
  },
  targets: [
    {
      what: 'a snapshot, times the same by hand',
      measured: measured.ratio('kvasir: the whole', 'by hand: the whole'),
      limit,
      wanted: 'at most',
    },
    {
      what: 'the pause, times the same by hand',
      measured: measured.ratio('kvasir: pause', 'by hand: pause'),
      limit,
      wanted: 'at most',
    },
    {
      what: 'ms that the disk of a writing guest waits',
      measured: measured.of('kvasir: pause').median,
      limit: pauseLimitMs,
      wanted: 'at most',
    },
  ],
  notes: [
    `${rounds} rounds in turn in two guests that both write all the time; each snapshot lies on the one before`,
  ],
  details: measured,
})

/** Takes a snapshot; answers for how long the disk waited. */
async function takeOurs(): Promise<number> {
  const snapshot = `s${++layers}`
  const params = { name }
  const job = await daemon.client.call(endpoints.createSnapshot, {
    params,
    query: { wait: 60 },
    body: { name: snapshot },
  })
  await waitForJob(daemon.client, job)
  const { pauseMs } = await daemon.client.call(endpoints.getSnapshot, { params: { ...params, snapshot } })
  if (pauseMs === undefined)
    throw new Error(`Snapshot ${snapshot} does not say for how long the guest waited.`)
  return pauseMs
}

async function takeByHand(): Promise<number> {
  const node = `layer${++layers}`
  const [former, overlay] = [layer, join(daemon.place.base, `bare${layers}.qcow2`)]
  const { monitor } = byHand
  const formerNode = `layer${former.match(/(\d+)\.qcow2$/)?.[1]}`
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', former, '-F', 'qcow2', '-u', overlay, capacity])
  await monitor.execute('blockdev-add', {
    driver: 'qcow2',
    'node-name': node,
    backing: null,
    file: { driver: 'file', filename: overlay },
  })
  layer = overlay
  return timed(() => monitor.execute('blockdev-snapshot', { node: formerNode, overlay: node }))
}
