/**
 * From a VM's disk to a copy that runs: a linked clone of the VM and its start, ten of them one after another, beside `qemu-img create
 * -b` and the same QEMU started by hand on what that made.
 */
import { execFile } from 'node:child_process'
import { copyFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endpoints } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { likeRunning } from './bare-emulator.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { interleave } from './interleave.ts'
import { tell } from './report.ts'

const run = promisify(execFile)
const clones = 10
const limit = 1.2
const [origin, clone] = ['origin', 'clone']

await using daemon = await BenchDaemon.open()
const machine = await describeMachine(daemon.client)
await daemon.createVm(origin, {
  image: 'tiny',
  memory: { size: '128MiB' },
  disks: [{ name: 'root', size: '1GiB' }],
})
const base = join(daemon.place.base, 'base.qcow2')
copyFileSync(onlyVolume(), base)

await makeClone()
const { pid } = await daemon.startVm(clone)
const overlay = join(daemon.place.base, 'clone.qcow2')
const bare = likeRunning(pid, daemon.place, (label) => (label === 'file-root' ? overlay : base))
await removeClone()

const measured = await interleave(
  {
    'kvasir: clone': () => timedOf(makeClone, removeUnstarted),
    'qemu-img create -b': () => timedOf(makeOverlay, async () => rmSync(overlay)),
    'kvasir: clone and start': async () => {
      const startedAt = performance.now()
      await makeClone()
      const madeMs = performance.now() - startedAt
      const { ms } = await daemon.startVm(clone)
      await removeClone()
      return madeMs + ms
    },
    'qemu-img create -b and bare QEMU': async () => {
      const startedAt = performance.now()
      await makeOverlay()
      const madeMs = performance.now() - startedAt
      const ms = madeMs + (await bare.measure())
      rmSync(overlay)
      return ms
    },
  },
  { rounds: clones },
)
const peers = [
  ['kvasir: clone and start', 'qemu-img create -b and bare QEMU'],
  ['kvasir: clone', 'qemu-img create -b'],
] as const
tell({
  name: 'storage-clones',
  machine,
  table: {
    head: ['ms', 'median', 'p90', 'least', 'ratio'],
    rows: peers.flatMap(([ours, theirs]) => [
      [ours, ...numbersOf(ours), measured.ratio(ours, theirs)],
      [theirs, ...numbersOf(theirs), 1],
    ]),
  },
  targets: [
    {
      what: 'a linked clone and its start, times qemu-img create -b and bare QEMU',
      measured: measured.ratio(...peers[0]),
      limit,
      wanted: 'at most',
    },
  ],
  notes: [`${clones} clones of one VM in turn, each in its whole cage; ended and deleted before the next`],
  details: measured,
})

function numbersOf(name: string): readonly number[] {
  const { median, p90, least } = measured.of(name)
  return [median, p90, least]
}

function onlyVolume(): string {
  const folder = join(daemon.place.stateDir, 'volumes')
  const [volume, another] = readdirSync(folder)
  if (volume === undefined || another !== undefined) throw new Error('The VM has one disk.')
  return join(folder, volume)
}

async function timedOf(work: () => Promise<void>, tidyUp: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  await work()
  const ms = performance.now() - startedAt
  await tidyUp()
  return ms
}

async function makeClone(): Promise<void> {
  const params = { name: origin }
  const query = { wait: 60 }
  const job = await daemon.client.call(endpoints.cloneVm, {
    params,
    query,
    body: { name: clone, mode: 'linked' },
  })
  await waitForJob(daemon.client, job)
}

async function removeUnstarted(): Promise<void> {
  await daemon.deleteVm(clone)
}

async function removeClone(): Promise<void> {
  await daemon.powerOffVm(clone)
  await daemon.deleteVm(clone)
}

async function makeOverlay(): Promise<void> {
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', overlay])
}
