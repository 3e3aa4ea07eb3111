/**
 * A guest with one disk on a volume group, one on a thin pool and one on an export of the kernel's NFS server, which writes numbered,
 * checksummed blocks to all three while everything is done to them that is done to a disk under a guest; after each step, what it reads
 * is what it wrote. A step that a pool cannot do must be refused in words.
 *
 * The same list on other backends, and more of it: e2e/storage/steps.ts.
 */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Pool, Snapshot, Vm, Volume } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import { openWorld, type World } from '../../e2e/machine/world.ts'
import { CommandLine } from '../../e2e/storage/command-line.ts'
import { assertOneInstant, blocksSpace, GuestBlocks, stateOfFile } from '../../e2e/storage/guest-blocks.ts'
import { checkpointSteps, exported } from '../../e2e/storage/steps-checkpoints.ts'
import { needs } from '../../tools/require.ts'
import { newExport, served } from '../testing/nfs-export.ts'
import { sh } from '../testing/shell.ts'
import { newVolumeGroup } from '../testing/volume-group.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
const pools = ['fast', 'thin', 'shared'] as const
/** The disks of the guest and where they begin. */
const disks = [
  ['a', 'fast'],
  ['b', 'thin'],
  ['c', 'shared'],
] as const
const named = disks.map(([disk]) => disk)

interface Scene {
  readonly world: World
  readonly cli: CommandLine
  readonly blocks: GuestBlocks
  readonly vg: string
  readonly folder: string
}

type Step = readonly [name: string, run: (scene: Scene) => Promise<void>]

function setScene(world: World): Omit<Scene, 'vg' | 'folder'> {
  const cli = new CommandLine(world)
  return { world, cli, blocks: new GuestBlocks(cli, 'web1', ['/dev/vda', '/dev/vdb', '/dev/vdc']) }
}

async function untilGuestHas({ world }: Scene, count: number): Promise<void> {
  const seen = async () => (await world.vm('web1').shell('ls /sys/block')).split('\n').length === count
  await eventually(seen, { withinMs: 60_000, what: `the guest has ${count} disks` })
}

async function poolOfDisk({ cli }: Scene, name: string): Promise<string> {
  const { spec } = await cli.show<Vm>('vm', 'show', 'web1')
  return spec.disks.find((disk) => disk.name === name)?.pool ?? ''
}

/** Where the layers of the disk on the volume group lie while it has snapshots. */
async function layersOf({ cli }: Scene): Promise<string | undefined> {
  return (await cli.show<Volume>('volume', 'show', 'fast/a')).liesIn
}

async function move(scene: Scene, disk: string, pool: string): Promise<void> {
  await scene.cli.run('vm', 'disk', 'move', 'web1', disk, '--pool', pool)
  assert.equal(await poolOfDisk(scene, disk), pool)
  await scene.blocks.moves()
}

const running: readonly Step[] = [
  [
    'a VM has a disk on each, and its guest writes',
    async ({ world, cli, blocks }) => {
      for (const [disk, pool] of disks)
        await cli.run('volume', 'create', `${pool}/${disk}`, '--size', String(blocksSpace), '--format', 'raw')
      const own = disks.flatMap(([disk, pool]) => ['--disk', `name=${disk},pool=${pool},volume=${disk}`])
      await cli.run('vm', 'create', 'web1', '--image', 'tiny', '--memory', '128MiB', ...own, '--start')
      await world.vm('web1').waitForLogin()
      await blocks.begin(0)
      await blocks.moves()
    },
  ],
  [
    'a disk of each is plugged, written to and unplugged, and its volume has what was written',
    async (scene) => {
      const { world, cli, blocks } = scene
      for (const pool of pools) {
        await cli.run('volume', 'create', `${pool}/more`, '--size', '4MiB')
        await cli.run('vm', 'disk', 'add', 'web1', `name=more,pool=${pool},volume=more`)
        await untilGuestHas(scene, 4)
        await world.vm('web1').shell(`echo on ${pool} | dd of=/dev/vdd bs=1M seek=3 conv=fsync 2>/dev/null`)
        await cli.run('vm', 'disk', 'remove', 'web1', 'more')
        await untilGuestHas(scene, 3)
        const file = join(world.place.base, `${pool}.img`)
        // A volume is in use until the last descriptor of it is closed.
        const download = () => cli.run('volume', 'download', `${pool}/more`, file, '--force')
        await eventually(download, { withinMs: 60_000, what: 'the volume is in use no more' })
        assert.equal(await sh(`dd if=${file} bs=1M skip=3 2>/dev/null | head -n 1`), `on ${pool}`)
      }
      await blocks.moves()
    },
  ],
  [
    'each grows under the guest and never shrinks',
    async ({ world, cli, blocks }) => {
      const wanted = blocksSpace + 16 * mib
      for (const [disk, pool] of disks) {
        await cli.run('volume', 'resize', `${pool}/${disk}`, '+16MiB')
        await cli.refused(
          /VM web1|shrink/,
          'volume',
          'resize',
          `${pool}/${disk}`,
          '16MiB',
          '--shrink',
          '--yes',
        )
      }
      const sizes = () => world.vm('web1').shell('cat /sys/block/vd[abc]/size')
      const grown = [wanted, wanted, wanted].map((bytes) => bytes / 512).join('\n')
      await eventually(async () => (await sizes()) === grown, {
        withinMs: 60_000,
        what: 'the guest sees its disks grow',
      })
      const last = `bs=1M seek=${wanted / mib - 1} count=1 conv=fsync`
      await world
        .vm('web1')
        .shell(`for disk in a b c; do dd if=/dev/zero of=/dev/vd$disk ${last} 2>/dev/null; done`)
      await blocks.moves()
    },
  ],
]

/** On raw disks what changed is noted beside them while the VM is off; the one on NFS is qcow2 once a snapshot has gone. */
const checkpoints = checkpointSteps({
  disks: named,
  maySnapshot: async () => true,
  assertSound: async ({ cli }: Scene) => {
    for (const pool of pools) {
      const { findings = [] } = await cli.show<Pool>('pool', 'refresh', pool)
      assert.deepEqual(findings, [])
    }
  },
}).map(({ name, run }): Step => [name, run])

const snapshots: readonly Step[] = [
  [
    'all disks are caught at one instant, a snapshot in the middle goes, and a revert brings that instant back',
    async (scene) => {
      const { world, cli, blocks } = scene
      const from = await blocks.check()
      await cli.run('snapshot', 'create', 'web1', 'one')
      const to = await blocks.moves()
      assert.equal(await layersOf(scene), 'default')
      for (const name of ['two', 'three']) await cli.run('snapshot', 'create', 'web1', name)
      await cli.run('snapshot', 'delete', 'web1', 'two', '--yes')
      await blocks.moves()
      const list = await cli.show<readonly Snapshot[]>('snapshot', 'list', 'web1')
      assert.deepEqual(
        list.map(({ name, parent }) => [name, parent]),
        [
          ['one', undefined],
          ['three', 'one'],
        ],
      )

      const vm = world.vm('web1')
      const boots = await vm.boots()
      await cli.run('snapshot', 'revert', 'web1', 'one', '--yes')
      await vm.waitForLogin(boots + 1)
      const states = await blocks.states()
      assertOneInstant(states, { from, to })
      await blocks.begin(Math.min(...states) + 1) // What one disk may have already is written again.
      await blocks.moves()
      for (const name of ['one', 'three']) await cli.run('snapshot', 'delete', 'web1', name, '--yes')
      await blocks.moves()
    },
  ],
]

const trouble: readonly Step[] = [
  [
    'the daemon is killed, and the guest writes on',
    async ({ world, blocks }) => {
      await world.daemon.kill9()
      await world.startDaemon()
      await blocks.moves()
    },
  ],
  [
    'each disk moves to another pool while the guest writes, and what changed meanwhile is known',
    async (scene) => {
      await exported(scene, { disks: named, folders: ['stayed'] }, '--checkpoint', 'stayed')
      await move(scene, 'a', 'thin')
      await move(scene, 'b', 'shared')
      await move(scene, 'c', 'fast')
      await exported(scene, { disks: named, folders: ['stayed', 'moved'] }, '--since', 'stayed')
      await scene.cli.run('checkpoint', 'delete', 'web1', 'stayed')
    },
  ],
  [
    'the emulator is killed, and the next one has what was flushed',
    async ({ world, cli, blocks }) => {
      const vm = world.vm('web1')
      const [pid, boots] = [await vm.pid(), await vm.boots()]
      process.kill(pid, 'SIGKILL')
      await vm.untilState('crashed')
      const said = await blocks.said()
      await cli.run('vm', 'start', 'web1')
      await vm.waitForLogin(boots + 1)
      const states = await blocks.states()
      // One block may have been on a disk before the guest could say so.
      assert.ok(
        states.every((state) => state === said || state === said + 1),
        `It said ${said}, and the disks have ${states.join(', ')}.`,
      )
      await blocks.begin(Math.min(...states) + 1)
      await blocks.moves()
    },
  ],
]

const ending: readonly Step[] = [
  [
    'what lies on the storage is what the guest wrote, and nothing of it is left in the end',
    async (scene) => {
      const { world, cli, blocks, vg, folder } = scene
      const before = await blocks.moves()
      await cli.run('vm', 'power-off', 'web1')
      for (const [disk] of disks) {
        const file = join(world.place.base, 'downloaded.img')
        await cli.run('volume', 'download', `${await poolOfDisk(scene, disk)}/${disk}`, file, '--force')
        assert.ok((await stateOfFile(file)) >= before)
      }
      const { findings = [] } = await cli.show<Pool>('pool', 'refresh', 'thin')
      assert.deepEqual(findings, [])
      await cli.run('vm', 'delete', 'web1', '--disks', '--yes')
      for (const pool of ['thin', 'fast', 'shared'])
        await cli.run('pool', 'delete', pool, '--remove-data', '--yes')
      assert.doesNotMatch(await sh(`lvs --noheadings -o lv_name ${vg} 2>/dev/null || true`), /[0-9a-f]{8}-/)
      assert.deepEqual(await readdir(folder), [])
    },
  ],
]

test('a guest on LVM, a thin pool and NFS reads what it wrote after everything that is done to its disks', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t, 1024)
  const path = await newExport(t)
  await using world = await openWorld(t)
  const scene = { ...setScene(world), vg, folder: join(served, path) }
  const { cli } = scene
  await cli.run('pool', 'create', 'fast', '--type', 'lvm', '--vg', vg)
  await cli.run(
    'pool',
    'create',
    'thin',
    '--type',
    'lvm-thin',
    '--vg',
    vg,
    '--thin-pool',
    'pool0',
    '--size',
    '384MiB',
  )
  await cli.run('pool', 'create', 'shared', '--type', 'nfs', '--server', '127.0.0.1', '--export', `/${path}`)
  for (const [name, run] of [...running, ...checkpoints, ...snapshots, ...trouble, ...ending]) {
    const startedMs = performance.now()
    await run(scene).catch((cause: unknown) => {
      throw new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    })
    t.diagnostic(`${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${name}`)
  }
})
