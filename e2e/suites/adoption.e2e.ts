/** The daemon is killed while it works; what ran runs on, and the next one knows everything about it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { runRefusedDaemon } from '../machine/daemon.ts'
import { assertNoGaps } from '../machine/events.ts'
import { eventually } from '../machine/eventually.ts'
import { clearPlace } from '../machine/leftovers.ts'
import { makePlace } from '../machine/place.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, tinySpec, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

test('VMs in every state survive a kill of the daemon under load', { skip }, async (t) => {
  await using world = await openWorld(t)
  const { running, busy, paused, panicked, saved, off, crashed } = await vmsInEveryState(world)
  const counted = await running.isCounting()
  const pids = new Map<VmHandle, number>()
  for (const vm of [running, busy, paused, panicked]) pids.set(vm, await vm.pid())
  const startedAt = (await running.show()).status.startedAt
  using events = await world.watchEvents()

  const load = putUnderLoad(world, busy)
  await pause(500)
  await world.daemon.kill9()
  await load
  const before = performance.now()
  await world.startDaemon()
  t.diagnostic(`The next daemon serves after ${Math.round(performance.now() - before)} ms.`)

  assert.equal(await running.state(), 'running')
  assert.equal(await paused.stateAndReason(), 'paused: it was paused')
  assert.equal(await panicked.stateAndReason(), "paused: the guest's kernel panicked")
  assert.equal(await saved.stateAndReason(), 'saved: its memory was saved')
  assert.equal(await off.state(), 'shutoff')
  assert.equal(await crashed.stateAndReason(), 'crashed: the emulator was killed by SIGKILL')
  for (const [vm, pid] of pids)
    assert.equal(await vm.pid(), pid, `VM ${vm.name} has the emulator that it had.`)
  assert.equal((await running.show()).status.startedAt, startedAt)
  assert.ok((await running.isCounting()) > counted)
  assert.equal(await running.boots(), 1)

  await paused.resume()
  await paused.isCounting()
  await saved.start()
  await saved.isCounting()
  await busy.untilState((await busy.state()) === 'paused' ? 'paused' : 'running')
  await events.until('the next daemon started', ({ kind }) => kind === 'daemon.started', { withinMs: 15_000 })
  await events.until(
    'the paused VM went on',
    ({ subject, data }) => subject === 'paused' && data['state'] === 'running',
  )
  assertNoGaps(events.seen())
})

async function vmsInEveryState(world: World) {
  const names = ['running', 'busy', 'paused', 'panicked', 'saved', 'crashed'] as const
  const vms = new Map<string, VmHandle>()
  for (const name of names) vms.set(name, await world.createTiny(name))
  await Promise.all([...vms.values()].map((vm) => vm.start()))
  for (const vm of vms.values()) await vm.waitForLogin()
  const of = (name: (typeof names)[number]) => vms.get(name) ?? assert.fail(name)

  await of('paused').isCounting()
  await of('paused').pause()
  await of('saved').isCounting()
  await of('saved').save()
  process.kill(await of('crashed').pid(), 'SIGKILL')
  await of('crashed').untilState('crashed')
  {
    using console = await of('panicked').console()
    await console.type('echo c > /proc/sysrq-trigger\n')
    await of('panicked').untilState('paused')
  }
  return {
    running: of('running'),
    busy: of('busy'),
    paused: of('paused'),
    panicked: of('panicked'),
    saved: of('saved'),
    crashed: of('crashed'),
    off: await world.createTiny('off'),
  }
}

/** Reads, writes and changes of state, until the daemon is gone. */
async function putUnderLoad(world: World, vm: VmHandle): Promise<void> {
  const { client } = world
  const untilGone = async (step: (round: number) => Promise<unknown>): Promise<void> => {
    for (let round = 0; world.daemon.isAlive(); round++)
      await step(round).catch((error: unknown) => {
        if (!(error instanceof KvasirError)) throw error
      })
  }
  await Promise.all([
    untilGone(() => client.call(endpoints.listVms, { timeoutMs: 2_000 })),
    untilGone((round) => (round % 2 === 0 ? vm.pause() : vm.resume())),
    untilGone(async (round) => {
      const name = `load-${round}`
      await client.call(endpoints.createVm, {
        body: { name, spec: tinySpec({ disks: [{ name: 'd', size: '1GiB' }] }) },
      })
      await client.call(endpoints.deleteVm, { params: { name }, query: { disks: 'true' } })
    }),
  ])
}

test('what guests and emulators did while nobody looked is told afterwards', { skip }, async (t) => {
  await using world = await openWorld(t)
  const off = await world.bootTiny('off')
  const killed = await world.bootTiny('killed')
  const panicked = await world.bootTiny('panicked', { lifecycle: { onPanic: 'stop' } })
  const again = await world.bootTiny('again', { lifecycle: { onPowerOff: 'restart' } })
  const pid = await killed.pid()
  const delayed = 'sleep 2; '
  for (const [vm, command] of [
    [off, 'poweroff -f'],
    [panicked, 'echo c > /proc/sysrq-trigger'],
    [again, 'poweroff -f'],
  ] as const)
    await vm.shell(`(${delayed}${command}) >/dev/null 2>&1 &`)

  await world.daemon.kill9()
  process.kill(pid, 'SIGKILL')
  await pause(4_000)
  await world.startDaemon()

  assert.equal(
    (await off.untilState('shutoff', { withinMs: 2_000 })).status.reason,
    'the guest powered itself off',
  )
  assert.equal(
    (await panicked.untilState('crashed', { withinMs: 2_000 })).status.reason,
    "the guest's kernel panicked",
  )
  assert.match(await killed.stateAndReason(), /^crashed: .*ended/)
  await again.waitForLogin(2)
  assert.equal(await again.state(), 'running')
})

test('an emulator that stood still while the daemon came back is unknown until it goes on', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('stuck')
  const other = await world.bootTiny('other')
  const pid = await vm.pid()

  process.kill(pid, 'SIGSTOP')
  await world.daemon.kill9()
  await world.startDaemon()
  assert.match(await vm.stateAndReason(), /^unknown: /)
  await assert.rejects(vm.start(), { code: 'wrong-state' })
  await other.isCounting()

  process.kill(pid, 'SIGCONT')
  await vm.untilState('running', { withinMs: 30_000 })
  await vm.isCounting()
  assert.equal(await vm.pid(), pid)
})

test('one state directory has one daemon', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const other = await makePlace()
  t.after(() => clearPlace(other))

  const refused = await runRefusedDaemon(other, { KVASIR_STATE_DIR: world.place.stateDir })

  assert.equal(refused.code, 1)
  assert.match(refused.said, /Another daemon, process \d+, uses the state directory/)
  assert.match(refused.said, new RegExp(`process ${world.daemon.pid},`))
  await vm.isCounting()
})

test('a daemon that ends leaves its VMs, and the command line says what to do', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const before = await vm.isCounting()

  await world.daemon.stop()
  const cli = await world.cli('vm', 'list')
  assert.equal(cli.code, 5)
  assert.match(cli.stderr, /not running/)
  await world.startDaemon()

  await eventually(async () => ((await vm.counter()) > before ? true : undefined), {
    withinMs: 10_000,
    what: 'the guest has counted on',
  })
})
