/** What guests and emulators do by themselves is shown within a second, with its reason: in the list, as an event, in the log. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { VmState } from '@kvasir/contract'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const shownWithinMs = 1_000

interface Shown {
  readonly state: VmState
  readonly reason: string
}

/** Lets something happen to a VM and asserts that everybody learns of it in time. `happen` returns once it has happened. */
async function assertShown(
  world: World,
  { vm, happen, shown }: { vm: VmHandle; happen: () => Promise<unknown>; shown: Shown },
): Promise<void> {
  using events = await world.watchEvents()
  await happen()
  const since = performance.now()

  const withinMs = shownWithinMs
  const inList = eventually(
    async () => {
      const vms = await world.client.call(endpoints.listVms)
      const { state, reason } = vms.find(({ name }) => name === vm.name)?.status ?? {}
      return state === shown.state && reason === shown.reason ? true : undefined
    },
    { withinMs, everyMs: 20, what: `${vm.name} is listed as ${shown.state}: ${shown.reason}` },
  )
  const asEvent = events.until(
    `${vm.name} is ${shown.state}: ${shown.reason}`,
    ({ kind, subject, data }) =>
      kind === 'vm.state' &&
      subject === vm.name &&
      data['state'] === shown.state &&
      data['reason'] === shown.reason,
    { withinMs },
  )
  const inLog = eventually(async () => (world.daemonLog().includes(shown.reason) ? true : undefined), {
    withinMs,
    everyMs: 20,
    what: `the log tells: ${shown.reason}`,
  })
  for (const result of await Promise.allSettled([inList, asEvent, inLog]))
    if (result.status === 'rejected') throw result.reason
  assert.ok(performance.now() - since < shownWithinMs + 500)
}

/** The guest does something and the console says nothing more: the moment is that of its last words. */
async function guestDoes(vm: VmHandle, command: string): Promise<void> {
  using console = await vm.console('take-over')
  await console.type(`${command}\n`)
  await console.ended.catch(() => '')
}

async function kill(vm: VmHandle, signal: NodeJS.Signals): Promise<void> {
  process.kill(await vm.pid(), signal)
}

test('a guest that powers itself off is shut off', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')

  await assertShown(world, {
    vm,
    happen: () => guestDoes(vm, 'poweroff -f'),
    shown: { state: 'shutoff', reason: 'the guest powered itself off' },
  })
})

test('a guest that powers itself off is started again where its owner wants that', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { lifecycle: { onPowerOff: 'restart' } })
  const pid = await vm.pid()

  await guestDoes(vm, 'poweroff -f')
  await vm.waitForLogin(2)

  assert.equal(await vm.state(), 'running')
  assert.notEqual(await vm.pid(), pid)
})

test('a guest that reboots goes on in the same emulator, or is off where its owner wants that', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const goesOn = await world.bootTiny('on')
  const ends = await world.bootTiny('off', { lifecycle: { onReboot: 'power-off' } })
  const pid = await goesOn.pid()

  {
    using console = await goesOn.console()
    await console.type('reboot -f\n')
    await goesOn.waitForLogin(2)
  }
  assert.equal(await goesOn.state(), 'running')
  assert.equal(await goesOn.pid(), pid)

  await assertShown(world, {
    vm: ends,
    happen: () => guestDoes(ends, 'reboot -f'),
    shown: { state: 'shutoff', reason: 'the guest rebooted, which powers this VM off' },
  })
})

const panics = [
  { onPanic: 'pause', state: 'paused', reason: "the guest's kernel panicked" },
  { onPanic: 'stop', state: 'crashed', reason: "the guest's kernel panicked" },
] as const

for (const { onPanic, ...shown } of panics) {
  test(`a guest whose kernel panics is ${shown.state} where the policy says ${onPanic}`, {
    skip,
  }, async (t) => {
    await using world = await openWorld(t)
    const vm = await world.bootTiny('web1', { lifecycle: { onPanic } })

    await assertShown(world, { vm, happen: () => panic(vm), shown })
  })
}

test('a guest whose kernel panics is started again where the policy says restart', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { lifecycle: { onPanic: 'restart' } })

  await panic(vm)
  await vm.waitForLogin(2)

  assert.equal(await vm.state(), 'running')
})

/** The kernel's last words come before it tells QEMU. */
async function panic(vm: VmHandle): Promise<void> {
  using console = await vm.console('take-over')
  await console.type('echo c > /proc/sysrq-trigger\n')
  await Promise.race([console.untilShown('Kernel panic'), console.ended])
}

/**
 * Sets both stages of the i6300ESB to half a second and turns it on, as a driver would: the kernel of the tiny guest has none. Its registers
 * are in Intel's datasheet 300641, chapter 16: each write to one is told in advance by 0x80 and 0x86 to the one that reloads.
 */
const armWatchdog = `
  device=/sys/bus/pci/devices/0000:00:06.0
  echo 1 >$device/enable
  base=$(cut -d' ' -f1 $device/resource | head -n1)
  put() { for value in 0x80 0x86; do devmem $((base + 12)) 16 $value; done; devmem $((base + $1)) $2 $3; }
  put 0 32 500
  put 4 32 500
  printf '\\002' | dd of=$device/config bs=1 seek=104 conv=notrunc 2>/dev/null
  put 12 16 0x100
`

test('a guest that leaves its watchdog alone is reset, and its status says so; it has the devices of its spec', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const devices = { watchdog: true, pointer: 'usb', sound: true, rngBytesPerSecond: 4096 } as const
  const vm = await world.bootTiny('web1', { devices })
  using events = await world.watchEvents()

  const classes = (await vm.shell('cat /sys/bus/pci/devices/*/class')).split('\n')
  await vm.shell(armWatchdog)

  const reason = "the guest's watchdog fired, and the guest was reset"
  await events.until('the watchdog is told', ({ data }) => data['reason'] === reason, { withinMs: 60_000 })
  await vm.waitForLogin(2)
  assert.equal(await vm.stateAndReason(), `running: ${reason}`)
  const usb = '0x0c0330'
  const audio = '0x040300'
  for (const one of [usb, audio]) assert.ok(classes.includes(one), `${one} is among ${classes.join(' ')}`)
})

test('an emulator that is killed leaves a crashed VM, which can be started again', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')

  await assertShown(world, {
    vm,
    happen: () => kill(vm, 'SIGKILL'),
    shown: { state: 'crashed', reason: 'the emulator was killed by SIGKILL' },
  })
  assert.equal((await vm.show()).status.exit?.signal, 'SIGKILL')
  await world.assertCleanAudit()

  await vm.start()
  await vm.waitForLogin(2)
})

test('an emulator that is killed is started again where the policy says so, but not for ever', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1', { lifecycle: { onCrash: 'restart' } })
  await vm.start()

  for (let restart = 1; restart <= 5; restart++) {
    const pid = await vm.pid()
    await kill(vm, 'SIGKILL')
    await eventually(
      async () => {
        const { status } = await vm.show()
        return status.state === 'running' && (status.pid ?? pid) !== pid ? true : undefined
      },
      { withinMs: 10_000, what: `the VM is started again, for the ${restart}th time` },
    )
  }
  await kill(vm, 'SIGKILL')

  const { status } = await vm.untilState('crashed')
  assert.equal(status.reason, 'the emulator was killed by SIGKILL, after 5 restarts within 5 minutes')
})

test('an emulator that stands still is unknown, holds nobody up, and is known again when it goes on', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('stuck')
  const other = await world.bootTiny('other')
  await stopEmulator(t, vm)

  const { status } = await vm.untilState('unknown', { withinMs: 30_000 })
  assert.equal(status.reason, 'its emulator runs but does not answer')
  await assertQuickReads(world, other)
  await assert.rejects(vm.start(), { code: 'wrong-state' })

  process.kill(status.pid ?? 0, 'SIGCONT')
  await vm.untilState('running', { withinMs: 30_000 })
  await vm.isCounting()
})

test('an emulator that stands still can be powered off', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('stuck')
  await stopEmulator(t, vm)

  await vm.powerOff()

  assert.equal(await vm.stateAndReason(), 'shutoff: it was powered off')
  await vm.start()
  await vm.waitForLogin(2)
})

async function stopEmulator(t: TestContext, vm: VmHandle): Promise<void> {
  const pid = await vm.pid()
  process.kill(pid, 'SIGSTOP')
  t.diagnostic(`The emulator ${pid} is stopped.`)
}

async function assertQuickReads(world: World, other: VmHandle): Promise<void> {
  const times: number[] = []
  for (let read = 0; read < 50; read++) {
    const before = performance.now()
    await world.client.call(endpoints.listVms)
    await other.show()
    times.push(performance.now() - before)
  }
  const median = times.toSorted((a, b) => a - b)[25] ?? Number.POSITIVE_INFINITY
  assert.ok(median < 100, `Reading takes ${median} ms while another emulator stands still.`)
  await other.pause()
  await other.resume()
}
