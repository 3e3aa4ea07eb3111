/**
 * A guest with one disk on a volume group, one on a thin pool and one on an export of the kernel's NFS server, which writes numbered,
 * checksummed blocks to all three while everything is done to them that is done to a disk under a guest; after each step, what it reads
 * is what it wrote. A step that a pool cannot do must be refused in words.
 *
 * The same list on other backends, and more of it: e2e/storage/steps.ts. Not here: checkpoints (storage-checkpoints.lab.ts).
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Snapshot, Volume } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { assertOneInstant, blocksSpace } from '../../e2e/storage/guest-blocks.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'
import {
  disks,
  moveDisk,
  openStorageScene,
  otherPools,
  pools,
  runSteps,
  type Scene,
  type Step,
  storedInTheEnd,
  vmThatWrites,
} from '../testing/storage-scene.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
async function untilGuestHas({ world }: Scene, count: number): Promise<void> {
  const seen = async () => (await world.vm('web1').shell('ls /sys/block')).split('\n').length === count
  await eventually(seen, { withinMs: 60_000, what: `the guest has ${count} disks` })
}

/** Where the layers of the disk on the volume group lie while it has snapshots. */
async function layersOf({ cli }: Scene): Promise<string | undefined> {
  return (await cli.show<Volume>('volume', 'show', 'fast/a')).liesIn
}

const running: readonly Step[] = [
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
    'each disk moves to another pool while the guest writes',
    async (scene) => {
      for (const [disk, pool] of otherPools) await moveDisk(scene, disk, pool)
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

test('a guest on LVM, a thin pool and NFS reads what it wrote after everything that is done to its disks', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const scene = await openStorageScene(t, world)
  await runSteps(t, scene, [vmThatWrites, ...running, ...snapshots, ...trouble, storedInTheEnd])
})
