/** Memory that comes and goes while a guest runs: the balloon, virtio-mem, and what the host has of it. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, tinySpec } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const mib = 2 ** 20
const followMs = 60_000

/** The memory of the host that a VM's emulator holds, in bytes. */
async function residentBytes(vm: VmHandle): Promise<number> {
  const status = await readFile(`/proc/${await vm.pid()}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

/** What the guest's kernel says of its memory, in bytes. */
async function guestMemory(vm: VmHandle, name: string): Promise<number> {
  return Number(await vm.shell(`awk '/^${name}:/ {print $2}' /proc/meminfo`)) * 1024
}

/** Waits until a number is as it should be, and gives it. */
async function until(read: () => Promise<number>, holds: (value: number) => boolean, what: string) {
  return eventually(
    async () => {
      const value = await read()
      return holds(value) ? value : undefined
    },
    { withinMs: followMs, everyMs: 250, what },
  )
}

test('a balloon gives memory of a full guest back to the host, and the guest gets it again', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const spec = { memory: { size: '384MiB', floor: '128MiB' }, disks: [{ name: 'data', size: '1GiB' }] }
  const vm = await world.bootTiny('web1', spec)
  await vm.shell('cat /dev/vda > /dev/null')
  const full = await residentBytes(vm)
  const freeBefore = await guestMemory(vm, 'MemAvailable')

  const asked = (384 - 144) * mib
  await vm.apply(tinySpec({ ...spec, memory: { ...spec.memory, target: '144MiB' } }))
  await until(
    () => residentBytes(vm),
    (now) => full - now >= asked * 0.8,
    'the resident size falls by 80 % of what was asked',
  )
  assert.deepEqual((await vm.show()).status.restartNeeded, [])

  await vm.apply(tinySpec(spec))
  await until(
    () => guestMemory(vm, 'MemAvailable'),
    (now) => now >= freeBefore * 0.9,
    'the guest has its memory again',
  )
  await vm.shell('cat /dev/vda > /dev/null')
  await until(
    () => residentBytes(vm),
    (now) => now >= full * 0.9,
    'the guest fills its memory again',
  )
})

test('memory is plugged and unplugged while the guest runs', { skip }, async (t) => {
  await using world = await openWorld(t)
  const memory = { size: '256MiB', max: '1GiB' }
  const vm = await world.bootTiny('web1', { memory })
  const total = await guestMemory(vm, 'MemTotal')

  const plan = await vm.plan(tinySpec({ memory: { ...memory, size: '512MiB' } }))
  assert.deepEqual(
    plan.changes.map(({ field, effect }) => [field, effect]),
    [['memory.size', 'live']],
  )
  await vm.apply(tinySpec({ memory: { ...memory, size: '512MiB' } }))
  await until(
    () => guestMemory(vm, 'MemTotal'),
    (now) => now >= total + 256 * mib,
    'the guest has more',
  )

  await vm.apply(tinySpec({ memory }))
  await until(
    () => guestMemory(vm, 'MemTotal'),
    (now) => now <= total + 8 * mib,
    'the guest gave it back',
  )
})

test('the status tells what was configured, what the guest says and what the host holds', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory: { size: '256MiB', max: '512MiB', high: '1GiB' } })
  await vm.shell('true')

  const memory = await eventually(
    async () => {
      const seen = (await vm.show()).status.memory
      const sources = seen?.guest.map(({ source }) => source) ?? []
      return sources.includes('balloon') && sources.includes('agent') && seen?.host ? seen : undefined
    },
    { withinMs: followMs, everyMs: 250, what: 'guest and host have told' },
  )

  assert.equal(memory.configuredBytes, 256 * mib)
  assert.equal(memory.bootBytes, 256 * mib)
  assert.deepEqual(memory.plugged, { requestedBytes: 0, pluggedBytes: 0, regionBytes: 256 * mib })
  assert.deepEqual(memory.balloon, { targetBytes: 256 * mib, actualBytes: 256 * mib })
  const total = await guestMemory(vm, 'MemTotal')
  for (const report of memory.guest) assert.equal(report.totalBytes, total)
  const { host } = memory
  assert.ok(host && host.residentBytes > 50 * mib && host.swappedBytes === 0)
  assert.ok((host.nodes ?? []).length > 0)
  assert.deepEqual(
    memory.limits.map(({ limit, bytes }) => [limit, bytes]),
    [['high', 1024 * mib]],
  )
  for (const { enforced, reason } of memory.limits)
    assert.ok(enforced || /no memory controller/.test(reason ?? ''))
  const { stdout } = await world.cli('vm', 'show', 'web1')
  assert.match(stdout, /^Memory +256 MiB, up to 512 MiB can be plugged/m)
  assert.match(stdout, /^Guest says +balloon: /m)
  assert.match(stdout, /^Host holds +.* resident/m)
})

test('a target and plugged memory outlive a reboot of the guest, a save and the death of the daemon', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const memory = { size: '256MiB', max: '1GiB' }
  const vm = await world.bootTiny('web1', { memory })
  const grown = { ...memory, size: '512MiB' }
  await vm.apply(tinySpec({ memory: { ...grown, target: '448MiB' } }))
  const isFollowed = async (what: string) => {
    await until(
      () => guestMemory(vm, 'MemTotal'),
      (now) => now > 360 * mib,
      `${what}: what is plugged`,
    )
    const left = async () => (await vm.show()).status.memory?.balloon?.actualBytes ?? 0
    await until(left, (now) => now === 448 * mib, `${what}: the balloon`)
  }
  await isFollowed('the guest has both')

  await world.daemon.kill9()
  await world.startDaemon()
  await vm.reboot()
  await vm.waitForLogin(2)
  await isFollowed('the guest has both after its reboot')

  await vm.save()
  await vm.start()
  await isFollowed('the guest has both after its save')
  assert.equal((await vm.show()).status.memory?.bootBytes, 256 * mib)

  await vm.powerOff()
  await vm.start()
  await isFollowed('the guest has both after a cold start')
  assert.equal((await vm.show()).status.memory?.bootBytes, 512 * mib)
})

test('the host tells what its VMs have and could claim, and a captured host tells its own', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await world.bootTiny('web1', { memory: { size: '256MiB', max: '1GiB' } })

  const memory = await world.client.call(endpoints.getHostMemory)

  assert.equal(memory.vms.running, 1)
  assert.equal(memory.vms.configuredBytes, 256 * mib)
  assert.equal(memory.vms.maximumBytes, 1024 * mib)
  assert.ok(memory.vms.residentBytes > 50 * mib)
  assert.ok(
    memory.claim.claimableBytes > 0 && memory.claim.claimableBytes < 640 * mib + memory.claim.unsharedBytes,
  )
  assert.ok(memory.totalBytes > memory.availableBytes)
  const { stdout } = await world.cli('host', 'memory')
  assert.match(stdout, /^VMs +1 running, with 256 MiB$/m)
  assert.match(stdout, /^Claim +VMs could take .* more at once/m)
  const captured = await world.cli('host', 'memory', '--root', '/', '-o', 'json')
  assert.equal(JSON.parse(captured.stdout).totalBytes, memory.totalBytes)
})

test('the kernel of the host is tuned as configured, and left as it was when the daemon goes', {
  skip,
}, async (t) => {
  const path = '/sys/kernel/mm/ksm/sleep_millisecs'
  const read = () => readFile(path, 'utf8').catch(() => undefined)
  const before = await read()
  await using world = await openWorld(t, {
    environment: { KVASIR_KSM: 'sleepMs=33', KVASIR_ZSWAP: 'maxPoolPercent=19' },
  })

  const { tuning } = await world.client.call(endpoints.getHostMemory)
  assert.deepEqual(
    tuning.map(({ setting }) => setting),
    ['ksm.sleepMs', 'zswap.maxPoolPercent'],
  )
  const [ksm] = tuning
  if (ksm?.state === 'applied') assert.equal((await read())?.trim(), '33')
  for (const { state, reason } of tuning) assert.ok(state === 'applied' || reason)

  await world.daemon.kill9()
  await world.startDaemon({ KVASIR_KSM: 'sleepMs=34' })
  await world.daemon.stop()
  assert.equal(await read(), before)
  await world.startDaemon({})
})

test('a daemon that dies between the spec and the emulator is followed by one that gives the orders', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const memory = { size: '256MiB', max: '1GiB' }
  const vm = await world.bootTiny('web1', { memory })
  await world.daemon.stop()
  const dying = await world.startDaemon({ KVASIR_FAILPOINT: 'vm.change.after-row:exit' })

  await assert.rejects(vm.apply(tinySpec({ memory: { ...memory, size: '512MiB', target: '448MiB' } })))
  await dying.exited
  await world.startDaemon({})

  const seen = async () => (await vm.show()).status.memory
  await until(
    async () => (await seen())?.plugged?.pluggedBytes ?? 0,
    (now) => now === 256 * mib,
    'it is plugged',
  )
  await until(
    async () => (await seen())?.balloon?.actualBytes ?? 0,
    (now) => now === 448 * mib,
    'and ballooned',
  )
})

test('of two clients at once the last one counts, and each hears what became of its own', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory: { size: '256MiB' } })

  const runs = await Promise.all(
    ['160MiB', '192MiB', '224MiB'].map((size) => world.cli('vm', 'balloon', 'web1', size)),
  )

  const { spec, status } = await vm.show()
  assert.equal(status.memory?.balloon?.targetBytes, spec.memory.target)
  const won = runs.filter(({ code }) => code === 0)
  assert.ok(won.length >= 1)
  for (const { code, stderr } of runs)
    if (code !== 0) assert.match(stderr, /meanwhile asked for another amount/)
  const left = async () => (await vm.show()).status.memory?.balloon?.actualBytes ?? 0
  await until(left, (now) => now === spec.memory.target, 'the guest has what was asked for last')
})

test('a guest that holds what it is to give back is told of, and gives it when it is asked again', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory: { size: '256MiB', max: '1GiB' } })
  assert.equal((await world.cli('vm', 'memory', 'web1', '512MiB')).code, 0)
  await vm.shell(
    [
      // Its kernel keeps 64 MiB for itself: with every page in a file of /tmp, it would find nothing to free, and panic.
      'echo 4 4 4 4 >/proc/sys/vm/lowmem_reserve_ratio',
      'mount -o remount,size=400m /tmp',
      'dd if=/dev/zero of=/tmp/held bs=1M count=280 2>/dev/null',
    ].join(' && '),
  )

  const refused = await world.cli('vm', 'memory', 'web1', '256MiB', '--timeout', '5')
  assert.equal(refused.code, 1)
  assert.match(
    refused.stderr,
    /Within 5 s the guest of VM web1 gave back .* of 256 MiB; it goes on being asked/,
  )
  const { spec, status } = await vm.show()
  assert.equal(spec.memory.size, 256 * mib)
  assert.ok((status.memory?.plugged?.pluggedBytes ?? 0) > 0)

  await vm.shell('rm /tmp/held')
  const given = await world.cli('vm', 'memory', 'web1', '256MiB', '--timeout', '40')
  assert.equal(given.code, 0, given.stderr)
})
