/** Disks that move while something is in the way: a pool that is full, deaths. Not here: a pool that hangs (move-hangs.e2e.ts), which waits long. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { addPool, endOf, type Moves, movesOf } from '../machine/moves.ts'
import { openWorld } from '../machine/world.ts'
import { beginWriting, flushedBlocks, untilItWritesOn, wrongBlocks } from '../machine/writing-guest.ts'

const skip = needs('root', 'qemu')
const rounds = Number(process.env['KVASIR_CRASH_ROUNDS'] ?? 6)

/** What still differs when a daemon that has just begun to serve has gone on with the moves of its predecessor: it serves before. */
async function differencesInTheEnd(moves: Moves): Promise<readonly string[]> {
  let left: readonly string[] = []
  const isNone = async () => {
    left = await moves.differences()
    return left.length === 0 || undefined
  }
  await eventually(isNone, { withinMs: 60_000, everyMs: 200, what: 'store and folders agree' }).catch(
    () => {},
  )
  return left
}

test('a pool that is full leaves the disk where it is, and its guest writes on', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const small = join(world.place.base, 'pools', 'small')
  mkdirSync(small, { recursive: true, mode: 0o700 })
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=0700', 'kvasir-test', small])
  using _ = { [Symbol.dispose]: () => execFileSync('umount', ['-l', small]) }
  await addPool(world, 'small', small)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'a', size: '16MiB' }], nics: [] })
  const moves = movesOf(world, vm)
  await vm.shell('dd if=/dev/urandom of=/dev/vda bs=1M count=16 conv=fsync 2>/dev/null')
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)

  const refused = await endOf(world, await moves.begin('a', { pool: 'small' }))

  assert.equal(refused.error?.code, 'not-enough-space', refused.error?.detail ?? refused.state)
  assert.deepEqual(await moves.differences(), [])
  await untilItWritesOn(vm)
  await vm.powerOff()
  await vm.delete()
  await world.client.call(endpoints.deletePool, { params: { pool: 'small' }, query: { data: 'remove' } })
})

test('what a guest flushed is there whatever is killed while its disk moves', {
  skip,
  timeout: 240_000 + rounds * 60_000,
}, async (t) => {
  await using world = await openWorld(t)
  await addPool(world, 'fast')
  const vm = await world.bootTiny('web1', { disks: [{ name: 'a', size: '16MiB' }], nics: [] })
  const moves = movesOf(world, vm)
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)
  const bad: string[] = []
  let begun = 0

  for (let round = 0; round < rounds; round++) {
    const victim = (['daemon', 'both', 'emulator'] as const)[round % 3] ?? 'daemon'
    const to = async () => ((await moves.volume('a')).pool === 'fast' ? 'default' : 'fast')
    const ended = new AbortController()
    const work = (async () => {
      while (!ended.signal.aborted)
        try {
          begun++
          await moves.move('a', { pool: await to(), format: randomInt(2) === 0 ? 'raw' : 'qcow2' })
        } catch (error) {
          if (!(error instanceof KvasirError)) return
        }
    })()
    await pause(randomInt(400))
    const pid = victim === 'daemon' ? undefined : (await vm.show()).status.pid
    ended.abort()
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
    if (victim !== 'emulator') await world.daemon.kill9()
    await work
    if (victim !== 'emulator') await world.startDaemon()
    const isStill = async () => {
      const jobs = await world.client.call(endpoints.listJobs)
      const isQuiet = jobs.every(({ state }) => state !== 'running')
      const state = await vm.state()
      return (isQuiet && state === (victim === 'daemon' ? 'running' : 'crashed')) || undefined
    }
    await eventually(isStill, { withinMs: 120_000, what: `nothing is under way after the kill of ${victim}` })
    bad.push(...(await differencesInTheEnd(moves)).map((one) => `round ${round}, kill of ${victim}: ${one}`))
    if (victim !== 'daemon') {
      const flushed = await flushedBlocks(vm)
      const { path = '', format } = await moves.volume('a')
      const wrong = await wrongBlocks({ top: path, format, scratch: world.place.base }, flushed)
      bad.push(...wrong.map((one) => `round ${round}, kill of ${victim}: ${one}`))
      await vm.start()
      await vm.shell('true') // As soon as its agent answers.
      await beginWriting(vm, 'vda', (flushed.at(-1) ?? -1) + 1)
    }
    await untilItWritesOn(vm)
  }

  t.diagnostic(
    `${rounds} rounds, ${bad.length} bad; ${begun} moves begun, ${(await flushedBlocks(vm)).at(-1)} blocks flushed`,
  )
  assert.deepEqual(bad, [])
})
