/** A QEMU that is missing, too old, or does not do what it should: each has its sentence, and leaves nothing behind. */
import assert from 'node:assert/strict'
import { chmod, copyFile, mkdir, mkdtemp, readdir, readlink, rm, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { breakEmulator, type Misbehaviour } from '../machine/broken-emulator.ts'
import { eventually } from '../machine/eventually.ts'
import { emulatorsByVm } from '../machine/host-emulators.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

/** Creates a VM with the QEMU at hand; then the daemon comes back with another in its place. */
async function swapEmulator(world: World, path: string): Promise<void> {
  await world.createTiny('web1')
  await world.daemon.stop()
  await world.startDaemon({ KVASIR_QEMU: path })
}

async function assertRefusedStart(
  world: World,
  { code, says }: { code: string; says: RegExp },
): Promise<void> {
  const vm = world.vm('web1')
  await assert.rejects(vm.start(), (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message)
    assert.match(error.message, says)
    return true
  })
  assert.match(await vm.stateAndReason(), /^shutoff: the last start failed: /)
  await world.assertCleanAudit()
  assert.equal((await emulatorsByVm(world.place)).size, 0)
}

test('a QEMU that is installed outside /usr runs in the cage', { skip }, async (t) => {
  await using world = await openWorld(t)
  const folder = await mkdtemp('/opt/kvasir-e2e-')
  t.after(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'bin'))
  // Debian's QEMU looks for its modules and firmware beside itself.
  for (const name of ['lib', 'share']) await symlink(join('/usr', name), join(folder, name))
  await chmod(folder, 0o755)
  const binary = join(folder, 'bin/qemu-system-x86_64')
  await copyFile('/usr/bin/qemu-system-x86_64', binary)
  await swapEmulator(world, binary)

  const vm = world.vm('web1')
  await vm.start()
  await vm.waitForLogin()

  const { pid } = (await vm.show()).status
  assert.equal(await readlink(`/proc/${pid}/exe`), binary)
  await world.assertCleanAudit()
})

test('without QEMU the daemon serves, says so, and starts no VM', { skip }, async (t) => {
  await using world = await openWorld(t)
  await swapEmulator(world, '/nonexistent/qemu')

  const { healthy, problems } = await world.client.call(endpoints.getStatus)
  assert.equal(healthy, false)
  assert.match(problems.join(), /QEMU/)
  await assertRefusedStart(world, { code: 'emulator-missing', says: /\/nonexistent\/qemu/ })
  const cli = await world.cli('vm', 'start', 'web1')
  assert.equal(cli.code, 4)
})

const cases: readonly (Misbehaviour & { what: string; code: string; says: RegExp })[] = [
  {
    what: 'a QEMU that is too old',
    ask: `"$real" "$@" | sed -u 's/"major": [0-9]*/"major": 4/'; exit 0`,
    code: 'emulator-missing',
    says: /version 4\..*oldest/,
  },
  {
    what: 'a QEMU that ends at once',
    run: 'echo "no luck today" >&2; exit 3',
    code: 'emulator-failed',
    says: /no luck today/,
  },
  {
    what: 'a QEMU that never answers its monitor',
    run: 'exec sleep 1000',
    code: 'emulator-failed',
    says: /no greeting within/,
  },
  {
    what: 'a QEMU that says what no QEMU says',
    run: 'while :; do echo "{}"; done >&2 & exec sleep 1000',
    code: 'emulator-failed',
    says: /did not come up/,
  },
]

for (const { what, code, says, ...misbehaviour } of cases) {
  test(`${what} starts no VM`, { skip }, async (t) => {
    await using broken = await breakEmulator(misbehaviour)
    await using world = await openWorld(t)
    await swapEmulator(world, broken.path)

    await assertRefusedStart(world, { code, says })
  })
}

test('a QEMU that is killed while it starts leaves the VM off', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1')
  await world.daemon.stop()
  await world.startDaemon({ KVASIR_FAILPOINT: 'emulator.launch.after-monitor:delay=3000' })

  const started = vm.start().catch((error: unknown) => error)
  const pid = await eventually(async () => [...(await emulatorsByVm(world.place)).values()][0]?.[0], {
    withinMs: 10_000,
    what: 'the emulator is there',
  })
  await pause(500)
  process.kill(pid, 'SIGKILL')

  const refusal = await started
  assert.ok(refusal instanceof Error && 'code' in refusal)
  // What was asked of it last gets no answer; whether it has ended is seen a moment later.
  assert.match(String(refusal.code), /^emulator-(failed|unresponsive)$/, refusal.message)
  assert.match(await vm.stateAndReason(), /^shutoff: the last start failed: /)
  await world.assertCleanAudit()
})

test('a QEMU that floods its log fills no disk and holds nobody up', { skip }, async (t) => {
  await using broken = await breakEmulator({ run: 'yes "a long line of nothing much" >&2 &' })
  await using world = await openWorld(t)
  await swapEmulator(world, broken.path)
  const vm = world.vm('web1')
  await vm.start()
  await vm.waitForLogin()

  await pause(3_000)
  const before = performance.now()
  await vm.show()
  assert.ok(performance.now() - before < 2_000, 'Reads are answered.')
  const bytes = await logBytes(world, t)
  assert.ok(bytes > 0 && bytes < 64 * 2 ** 20, `The logs hold ${bytes} bytes.`)

  await vm.powerOff()
  assert.equal(await vm.state(), 'shutoff')
})

async function logBytes(world: World, t: TestContext): Promise<number> {
  const files = await readdir(world.place.logDir, { recursive: true, withFileTypes: true })
  // A log that is rotated in between has another name by now, and the bound holds for the rest.
  const sizes = await Promise.all(
    files.filter((file) => file.isFile()).map((file) => bytesOf(join(file.parentPath, file.name))),
  )
  const sum = sizes.reduce((total, size) => total + size, 0)
  t.diagnostic(`The logs hold ${sum} bytes.`)
  return sum
}

async function bytesOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0
    throw error
  }
}
