/**
 * Kills at random moments, of the daemon or the emulator, while a guest writes to a disk on Ceph and snapshots of it come and go: what it
 * flushed is there, and Ceph holds what the store says. Few rounds, since Ceph remembers a killed emulator for a while;
 * `KVASIR_CRASH_ROUNDS=N` for more. Files: snapshot-kills.e2e.ts.
 */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { needs } from '../../tools/require.ts'
import { type CephCluster, startCeph } from '../../tools/servers/ceph-cluster.ts'
import { assertEmpty, openCephPool } from '../machine/ceph-pool.ts'
import { eventually } from '../machine/eventually.ts'
import { snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'
import { beginWriting, flushedBlocks, untilItWritesOn, wrongBlocks } from '../machine/writing-guest.ts'

const skip = needs('root', 'qemu', 'ceph')
const rounds = Number(process.env['KVASIR_CRASH_ROUNDS'] ?? 3)
const victims = ['daemon', 'emulator', 'daemon'] as const
const longestWorkMs = 700
const settleMs = 90_000
const namespace = 'kills'

test('what a guest flushed to Ceph is there whatever is killed while snapshots come and go', {
  skip,
  timeout: 120_000 + rounds * 120_000,
}, async (t) => {
  await using ceph = await startCeph()
  await using world = await openWorld(t)
  await openCephPool(world, ceph, namespace)
  const vm = await world.bootTiny('web1', {
    disks: [{ name: 'data', pool: 'ceph1', size: '16MiB' }],
    nics: [],
  })
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)

  for (let round = 0; round < rounds; round++)
    await killOnce({ world, vm }, { round, victim: victims[round % victims.length] ?? 'daemon' })
  const flushed = await flushedBlocks(vm)
  await vm.powerOff()

  const list = await snapshotsOf(world, vm).list()
  t.diagnostic(`${rounds} rounds, ${list.length} snapshots, ${flushed.at(-1)} blocks flushed`)
  const judge = (top: string) => wrongBlocks({ top, format: 'raw', scratch: world.place.base }, flushed)
  assert.deepEqual(await judge(await copyOf({ world, vm })), [])
  for (const { name } of list) await snapshotsOf(world, vm).delete(name)
  assert.deepEqual(await judge(await exported({ world, vm }, ceph)), [])
  await vm.delete({ disks: true })
  await assertEmpty(ceph, namespace)
})

interface Scene {
  readonly world: World
  readonly vm: VmHandle
}

async function killOnce(
  { world, vm }: Scene,
  { round, victim }: { readonly round: number; readonly victim: 'daemon' | 'emulator' },
): Promise<void> {
  const work = snapshotsOf(world, vm)
    .create(`s${round}`)
    .catch(() => {}) // A death ends it; what came of it is looked at.
  await pause(randomInt(longestWorkMs))
  if (victim === 'daemon') {
    await world.daemon.kill9()
    await work
    await world.startDaemon()
  } else {
    process.kill(await vm.pid(), 'SIGKILL')
    await work
  }
  await eventually(
    async () => {
      const { state, job } = (await vm.show()).status
      assert.match(state, /^(running|crashed|shutoff)$/, `Its job is ${job ?? 'none'}.`)
      const all = await snapshotsOf(world, vm).list()
      assert.deepEqual(
        all.filter((snapshot) => snapshot.state !== 'ready'),
        [],
      )
      return true
    },
    { withinMs: settleMs, what: `nothing is done to the VM any more after the death of the ${victim}` },
  )
  const isLost = victim === 'emulator'
  if (isLost) {
    await eventually(async () => (await vm.state()) !== 'running' || undefined, {
      withinMs: settleMs,
      what: 'the death of the emulator is noticed',
    })
    const last = (await flushedBlocks(vm)).at(-1) ?? -1
    await vm.start()
    await vm.shell('true') // As soon as its agent answers.
    await beginWriting(vm, 'vda', last + 1)
  }
  await untilItWritesOn(vm)
}

/** Copies the disk of a VM that is off to a file. */
async function copyOf({ world, vm }: Scene): Promise<string> {
  const file = join(world.place.base, 'copy.raw')
  const { code, stderr } = await world.cli('vm', 'export', vm.name, 'data', file)
  assert.equal(code, 0, stderr)
  return file
}

/** Copies the only image that there is to a file, past Kvasir. */
async function exported({ world }: Scene, ceph: CephCluster): Promise<string> {
  const images = (await ceph.tool('rbd', 'ls', `rbd/${namespace}`)).trim().split('\n')
  assert.equal(images.length, 1, images.join(', '))
  const file = join(world.place.base, 'exported.raw')
  await ceph.tool('rbd', 'export', '--no-progress', `rbd/${namespace}/${images[0]}`, file)
  return file
}
