/** A disk moves to a pool whose file system hangs. By itself, since it waits for most of a minute, beside which others can run. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { lacking, needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { addPool, endOf, movesOf } from '../machine/moves.ts'
import { openWorld } from '../machine/world.ts'
import { beginWriting, untilItWritesOn } from '../machine/writing-guest.ts'

const skip =
  needs('root', 'qemu') ||
  (existsSync('/usr/bin/bindfs')
    ? false
    : lacking('oracle', 'there is no bindfs, whose file system could hang'))
const mib = 2 ** 20

test('a pool that hangs holds up neither its guest nor the move for ever, and nothing of it is left', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const real = join(world.place.base, 'real')
  const path = join(world.place.base, 'pools', 'slow')
  for (const folder of [real, path]) mkdirSync(folder, { recursive: true, mode: 0o700 })
  const server = spawn('bindfs', ['-f', real, path], { stdio: 'ignore' })
  try {
    const isMounted = async () => readFileSync('/proc/self/mounts', 'utf8').includes(` ${path} fuse`)
    await eventually(isMounted, { withinMs: 20_000, what: 'bindfs mounts' })
    await addPool(world, 'slow', path)
    const vm = await world.bootTiny('web1', { disks: [{ name: 'a', size: '16MiB' }], nics: [] })
    const moves = movesOf(world, vm)
    await vm.shell('dd if=/dev/zero of=/dev/vda bs=1M count=16 conv=fsync 2>/dev/null')
    await beginWriting(vm, 'vda', 0)
    const job = await moves.begin('a', { pool: 'slow', speed: mib })
    const isUnderWay = async () =>
      ((await world.client.call(endpoints.getJob, { params: { id: job.id } })).progress ?? 0) > 0.05 ||
      undefined
    await eventually(isUnderWay, { withinMs: 60_000, what: 'some of it is copied' })

    server.kill('SIGSTOP')
    await untilItWritesOn(vm)
    const failed = await endOf(world, job)

    assert.equal(failed.error?.code, 'pool-unreachable', failed.error?.detail ?? failed.state)
    assert.equal(await vm.state(), 'running')
    await untilItWritesOn(vm)
    server.kill('SIGCONT')
    const isLeft = async () => {
      await world.client.call(endpoints.startPool, { params: { pool: 'slow' } })
      return (await moves.differences()).length === 0 || undefined
    }
    await eventually(isLeft, { withinMs: 60_000, everyMs: 500, what: 'the copy is gone' })
    const moved = await endOf(world, await moves.begin('a', { pool: 'slow' }))
    assert.equal(moved.state, 'succeeded', moved.error?.detail ?? '')
    await untilItWritesOn(vm)
    await vm.powerOff()
    await vm.delete()
    await world.client.call(endpoints.deletePool, { params: { pool: 'slow' }, query: { data: 'remove' } })
  } finally {
    const exited = once(server, 'exit')
    server.kill('SIGKILL')
    await exited
    execFileSync('umount', ['-l', path])
  }
})
