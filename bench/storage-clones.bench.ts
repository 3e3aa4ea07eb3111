/**
 * From one disk to copies that run. Ten VMs that are made of an image and started, two at a time, beside ten times `qemu-img create -b`
 * and the same QEMU by hand; their guests have no system to boot, so that what is measured is their start. And one linked clone of a
 * VM with its start, again and again, beside the same by hand.
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
import { inParallel } from './in-parallel.ts'
import { interleave, timed } from './interleave.ts'
import { tell } from './report.ts'

const run = promisify(execFile)
const rounds = 10
const fleet = 10
/** As many are on their way at a time, here and there. */
const width = 2
const limit = 1.2
const [origin, clone, image] = ['origin', 'clone', 'image']
const diskless = { memory: { size: '64MiB' }, disks: [{ name: 'root', image }] }

const [ours, theirs] = [`kvasir: ${fleet} of one image`, `qemu-img and bare QEMU: ${fleet}`] as const

await using daemon = await BenchDaemon.open()
const machine = await describeMachine(daemon.client)
await daemon.createVm(origin, {
  image: 'tiny',
  memory: { size: '128MiB' },
  disks: [{ name: 'root', size: '1GiB' }],
})
const base = join(daemon.place.base, 'base.qcow2')
copyFileSync(onlyVolume(), base)

const names = Array.from({ length: fleet }, (_, number) => `vm${number}`)
const byHand = await fleetByHand()

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
    [ours]: async () => {
      const ms = await timed(() =>
        inParallel(names, width, async (name) => {
          await daemon.createVm(name, diskless)
          await daemon.runVm(name)
        }),
      )
      await inParallel(names, width, endAndDelete)
      return ms
    },
    [theirs]: async () => {
      await using ended = new AsyncDisposableStack()
      return await timed(() =>
        inParallel(byHand, width, async ({ file, emulator }) => {
          ended.defer(() => rmSync(file))
          await makeOverlay(file)
          ended.defer((await emulator.start()).end)
        }),
      )
    },
  },
  { rounds },
)
const peers = [
  [ours, theirs],
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
      what: `${fleet} VMs of one image, made and started, times qemu-img create -b and bare QEMU`,
      measured: measured.ratio(...peers[0]),
      limit,
      wanted: 'at most',
    },
  ],
  notes: [
    `${rounds} rounds in turn, each VM in its whole cage, ended and deleted before the next; ${fleet} are made ${width} at a time`,
  ],
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
  await endAndDelete(clone)
}

async function endAndDelete(name: string): Promise<void> {
  await daemon.powerOffVm(name)
  await daemon.deleteVm(name)
}

/** As many QEMUs as ours, each on an overlay of its own that is not there yet. */
async function fleetByHand() {
  const job = await daemon.client.call(endpoints.importImage, {
    query: { wait: 60 },
    body: { path: base, name: image, format: 'qcow2' },
  })
  await waitForJob(daemon.client, job)
  const [like = ''] = names
  await daemon.createVm(like, diskless)
  const { pid } = await daemon.startVm(like)
  const all = names.map((name) => {
    const file = join(daemon.place.base, `${name}.qcow2`)
    const emulator = likeRunning(pid, daemon.place, (label) => (label === 'file-root' ? file : base), {
      name,
    })
    return { file, emulator }
  })
  await endAndDelete(like)
  return all
}

async function makeOverlay(file = overlay): Promise<void> {
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', file])
}
