/** A VM on the pool, and what is done to its disks while its guest writes. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import type { Vm, Volume } from '@kvasir/contract'
import { eventually } from '../machine/eventually.ts'
import { blocksSpace, stateOfFile } from './guest-blocks.ts'
import { assertSound, dataOf, poolOf, type Scene, scratch, untilGuestHas } from './scene.ts'
import type { Step } from './step.ts'

const mib = 2 ** 20

export const runningSteps: readonly Step[] = [
  {
    name: 'a VM has a disk there, and its guest writes',
    async run({ world, cli, blocks }) {
      const disk = ['--disk', 'name=data,pool=tested,volume=data']
      await cli.run('vm', 'create', 'web1', '--image', 'tiny', '--memory', '128MiB', ...disk, '--start')
      await world.vm('web1').waitForLogin()
      await blocks.begin(0)
      await blocks.moves()
    },
  },
  {
    name: 'what is in use is refused to everybody else, with the name of who has it',
    async run({ cli, blocks }) {
      const used = /VM web1/
      await cli.refused(used, 'vm', 'create', 'web2', '--image', 'tiny', '--disk', 'pool=tested,volume=data')
      await cli.refused(used, 'volume', 'delete', 'tested/data', '--yes')
      await cli.refused(used, 'volume', 'wipe', 'tested/data', '--yes')
      await cli.refused(used, 'volume', 'convert', 'tested/data', '--to', 'default')
      await cli.refused(used, 'volume', 'download', 'tested/data', '/dev/null', '--force')
      await cli.refused(used, 'pool', 'stop', 'tested')
      await cli.refused(/data/, 'pool', 'delete', 'tested', '--remove-data', '--yes')
      await blocks.moves()
    },
  },
  {
    name: 'a disk is plugged, written to and unplugged under the guest, and its volume has what was written',
    async run(scene) {
      const { world, cli, blocks } = scene
      await cli.run('vm', 'disk', 'add', 'web1', 'name=more,pool=tested,volume=more')
      await untilGuestHas(scene, 2)
      const write = (place: number) =>
        `echo "plugged ${place}" | dd of=/dev/vdb bs=1M seek=${place} conv=fsync,notrunc 2>/dev/null`
      const places = [0, 9, 31]
      await world.vm('web1').shell(places.map(write).join(' && '))
      await cli.run('vm', 'disk', 'remove', 'web1', 'more')
      await untilGuestHas(scene, 1)
      await eventually(
        async () => (await cli.show<Volume>('volume', 'show', 'tested/more')).usedBy.length === 0,
        { withinMs: 60_000, what: 'the volume is in use no more' },
      )
      const file = scratch(scene, 'more.img')
      await cli.run('volume', 'download', 'tested/more', file)
      const bytes = await readFile(file)
      for (const place of places) {
        const text = `plugged ${place}\n`
        assert.equal(bytes.toString('latin1', place * mib, place * mib + text.length), text)
      }
      await blocks.moves()
    },
  },
  {
    name: 'a disk is throttled, and let go again',
    async run({ cli, blocks }) {
      await cli.run(
        'vm',
        'disk',
        'throttle',
        'web1',
        'data',
        'iops=50,bytesWrite=1MiB,burst.iops=100,burstSeconds=2',
      )
      await blocks.moves()
      const { spec } = await cli.show<Vm>('vm', 'show', 'web1')
      assert.equal(spec.disks[0]?.throttle?.iops, 50)
      await cli.run('vm', 'disk', 'throttle', 'web1', 'data', 'none')
      await blocks.moves()
    },
  },
  {
    name: 'a disk grows under the guest and never shrinks',
    async run({ world, cli, backend, blocks }) {
      if (backend.luns !== undefined) {
        await cli.refused(/resized where it was made/, 'volume', 'resize', 'tested/data', '+16MiB')
        return
      }
      const wanted = blocksSpace + 16 * mib
      await cli.run('volume', 'resize', 'tested/data', '+16MiB')
      const vm = world.vm('web1')
      await eventually(async () => Number(await vm.shell('cat /sys/block/vda/size')) * 512 === wanted, {
        withinMs: 30_000,
        what: 'the guest sees its disk grow',
      })
      const last = `bs=1M seek=${wanted / mib - 1}`
      await vm.shell(
        `tr '\\0' x </dev/zero | dd of=/dev/vda ${last} count=1 iflag=fullblock conv=fsync 2>/dev/null`,
      )
      await cli.refused(/VM web1|shrink/, 'volume', 'resize', 'tested/data', '16MiB', '--shrink', '--yes')
      await blocks.moves()
    },
  },
  {
    name: 'a running VM is exported as it is at one instant',
    async run(scene) {
      const { cli, blocks } = scene
      const before = await blocks.check()
      await cli.run('vm', 'export', 'web1', 'monday', '--pool', 'default')
      const after = await blocks.check()
      const state = await downloaded(scene, 'default/data.monday')
      assert.ok(before <= state && state <= after, `${before} <= ${state} <= ${after}`)
      await cli.run('volume', 'delete', 'default/data.monday', '--yes')
    },
  },
]

/** Takes a snapshot, and notes between which blocks that was. */
async function carry({ cli, blocks, notes }: Scene, name: string): Promise<void> {
  const from = await blocks.check()
  await cli.run('snapshot', 'create', 'web1', name)
  notes.carried = new Map(notes.carried).set(name, [from, await blocks.moves()])
}

/** What is done last, since it may lead away from the pool. */
export const moveSteps: readonly Step[] = [
  {
    name: 'a disk moves to another pool with its snapshots while the guest writes, and back',
    async run(scene) {
      const { cli, backend, blocks } = scene
      await carry(scene, 'there')
      await cli.run('vm', 'disk', 'move', 'web1', 'data', '--pool', 'default', '--format', 'qcow2')
      assert.match(await dataOf(scene), /^default\//)
      await blocks.moves()
      for (const name of ['back', 'back-too']) await carry(scene, name)
      const back = ['vm', 'disk', 'move', 'web1', 'data', '--pool', 'tested', '--format', backend.format]
      if (backend.luns !== undefined) {
        await cli.refused(/makes no volumes/, ...back)
        await freeLun(scene)
        await cli.run('vm', 'disk', 'move', 'web1', 'data', '--into', 'tested/data', '--force')
        assert.equal(await dataOf(scene), 'tested/data')
      } else {
        await untilGone(scene, ({ name }) => name === 'data')
        const isRawFile = backend.format === 'raw' && (await poolOf(scene)).type === 'dir'
        if (isRawFile) {
          await cli.refused(/what lies on a layer is qcow2/, ...back)
          for (const name of ['there', 'back', 'back-too'])
            await cli.run('snapshot', 'delete', 'web1', name, '--yes')
          scene.notes.carried = new Map()
        }
        await cli.run(...back)
        assert.match(await dataOf(scene), /^tested\//)
      }
      await blocks.moves()
      await assertSound(scene)
      assert.equal((await poolOf(scene)).health, 'good')
    },
  },
]

/** The LUN that the disk was on has the name of a layer, and what a revert kept lies on it; when that is gone nobody has the LUN. */
async function freeLun(scene: Scene): Promise<void> {
  const { cli, backend } = scene
  const ofDisk = await volumesOfDisk(scene)
  const { name: lun } = ofDisk.find(({ liesIn }) => liesIn === undefined) ?? assert.fail('There is no LUN.')
  const into = ['vm', 'disk', 'move', 'web1', 'data', '--into', `tested/${lun}`, '--force']
  await cli.refused(/is the base of others/, ...into)
  for (const { name, frozen } of ofDisk)
    if (!frozen) await cli.run('volume', 'delete', `tested/${name}`, '--yes')
  await untilGone(scene, () => true)
  await cli.run('volume', 'import', 'tested/data', backend.luns?.[0] ?? '', '--format', 'raw')
}

async function volumesOfDisk({ cli }: Scene): Promise<readonly Volume[]> {
  const volumes = await cli.show<readonly Volume[]>('volume', 'list', '--pool', 'tested')
  return volumes.filter(({ name }) => name.startsWith('data'))
}

/** What a disk leaves goes when its move is over. */
async function untilGone(scene: Scene, isMeant: (volume: Volume) => boolean): Promise<void> {
  const isGone = async () => !(await volumesOfDisk(scene)).some(isMeant)
  await eventually(isGone, { withinMs: 60_000, what: 'what the disk was is gone from its pool' })
}

/** What a volume that nobody uses holds. */
export async function downloaded(scene: Parameters<Step['run']>[0], volume: string): Promise<number> {
  const file = scratch(scene, 'downloaded.img')
  await scene.cli.run('volume', 'download', volume, file, '--force')
  return await stateOfFile(file)
}
