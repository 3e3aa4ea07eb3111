/**
 * Memory of VMs on a host that has every part: a balloon that gives it back, memory that is plugged, KSM between two VMs, limits of
 * cgroup v2 with swap and zswap. As the VMs' statuses tell it, and as the kernel does.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import type { VmHandle } from '../../e2e/machine/vm-handle.ts'
import { openWorld, tinySpec } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
const withinMs = 60_000 // KVASIR_PATIENCE times that in the lab.

/** Waits until a number is as it should be, and gives it. */
async function until(
  read: () => Promise<number | undefined>,
  holds: (value: number) => boolean,
  what: string,
): Promise<number> {
  let last: number | undefined
  return eventually(
    async () => {
      last = await read()
      return last !== undefined && holds(last) ? last : undefined
    },
    { withinMs, everyMs: 500, what },
  ).catch((cause: unknown) => {
    throw new Error(`${what}: it is ${last}`, { cause })
  })
}

const held = async (vm: VmHandle) => (await vm.show()).status.memory?.host
const resident = async (vm: VmHandle) => (await held(vm))?.residentBytes
const guestTotal = async (vm: VmHandle) =>
  Number(await vm.shell("awk '/^MemTotal:/ {print $2}' /proc/meminfo")) * 1024

/** A command line that fills memory with copies of a program, which lie alike in the pages of every guest. */
const copies = (count: number) =>
  `i=0; while [ $i -lt ${count} ]; do cp /bin/busybox /tmp/copy$i; i=$((i+1)); done`

/** Sets files of /sys for the length of a test. */
function setFiles(t: TestContext, files: Readonly<Record<string, string>>): void {
  for (const [path, value] of Object.entries(files)) {
    const before = readFileSync(path, 'utf8').trim()
    t.after(() => writeFileSync(path, before))
    writeFileSync(path, value)
  }
}

test('a ballooned guest gives memory back to the host and gets it again', { skip }, async (t) => {
  await using world = await openWorld(t)
  const spec = { memory: { size: '256MiB' }, disks: [{ name: 'data', size: '320MiB' }] }
  const vm = await world.bootTiny('web1', spec)
  assert.equal((await vm.show()).status.accelerator, 'kvm')
  // Held open, since the cache of a disk goes with the last who closes it; free pages would go back to the host by themselves.
  await vm.shell('(sleep 100000 </dev/vda >/dev/null 2>&1 &) ; cat /dev/vda >/dev/null')
  const full = await until(
    () => resident(vm),
    (now) => now > 240 * mib,
    'the guest fills its memory',
  )

  const asked = (256 - 112) * mib
  const taken = await world.cli('vm', 'balloon', 'web1', '112MiB', '--timeout', '300')
  assert.equal(taken.code, 0, taken.stderr)
  await until(
    () => resident(vm),
    (now) => full - now >= asked * 0.8,
    '80 % of what was asked for is back',
  )

  const given = await world.cli('vm', 'balloon', 'web1', 'all', '--timeout', '300')
  assert.equal(given.code, 0, given.stderr)
  await vm.shell('cat /dev/vda > /dev/null')
  await until(
    () => resident(vm),
    (now) => now >= full * 0.9,
    'the guest fills its memory again',
  )
})

test('memory is plugged into a guest and unplugged from it', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { memory: { size: '256MiB', max: '1GiB' } })
  const before = await guestTotal(vm)

  const plugged = await world.cli('vm', 'memory', 'web1', '512MiB', '--timeout', '300')
  assert.equal(plugged.code, 0, plugged.stderr)
  await until(
    () => guestTotal(vm),
    (now) => now >= before + 256 * mib,
    'the guest has more',
  )

  const unplugged = await world.cli('vm', 'memory', 'web1', '256MiB', '--timeout', '300')
  assert.equal(unplugged.code, 0, unplugged.stderr)
  assert.ok((await guestTotal(vm)) <= before + 8 * mib)
})

test('a VM above its high limit is swapped out, and its status says how much and where', {
  skip,
}, async (t) => {
  setFiles(t, { '/sys/module/zswap/parameters/enabled': 'Y' })
  await using world = await openWorld(t)
  const spec = { memory: { size: '256MiB', high: '160MiB', hard: '512MiB', swap: '256MiB' } }
  const vm = await world.bootTiny('web1', spec)
  const { status } = await vm.show()
  const limitFile = (name: string) => readFileSync(`${status.cgroup}/${name}`, 'utf8').trim()
  assert.equal(limitFile('memory.high'), String(160 * mib))
  assert.equal(limitFile('memory.max'), String(512 * mib))
  assert.equal(limitFile('memory.swap.max'), String(256 * mib))

  await vm.shell(copies(100))
  await until(
    async () => (await held(vm))?.swappedBytes,
    (now) => now > 4 * mib,
    'some of it is swapped out',
  )
  await until(
    async () => (await held(vm))?.zswappedBytes,
    (now) => now > mib,
    'and compressed',
  )
  const memory = (await vm.show()).status.memory
  assert.deepEqual(
    memory?.limits.map(({ limit, enforced }) => [limit, enforced]),
    [
      ['high', true],
      ['hard', true],
      ['swap', true],
    ],
  )
  assert.ok((memory?.host?.nodes ?? []).length > 0)

  await vm.apply(tinySpec({ memory: { size: '256MiB' } }))
  assert.equal(limitFile('memory.high'), 'max')
})

test('zswap and KSM are switched as configured, and given back when the daemon goes', { skip }, async (t) => {
  const files = {
    '/sys/kernel/mm/ksm/pages_to_scan': '777',
    '/sys/kernel/mm/ksm/run': '1',
    '/sys/module/zswap/parameters/max_pool_percent': '13',
    '/sys/module/zswap/parameters/enabled': 'N',
  }
  const read = (path: string) => readFileSync(path, 'utf8').trim()
  const before = Object.keys(files).map(read)
  await using world = await openWorld(t, {
    environment: { KVASIR_KSM: 'run=true,pagesToScan=777', KVASIR_ZSWAP: 'enabled=false,maxPoolPercent=13' },
  })

  const { tuning } = await world.client.call(endpoints.getHostMemory)
  assert.deepEqual(
    tuning.map(({ setting, state }) => [setting, state]),
    [
      ['ksm.pagesToScan', 'applied'],
      ['ksm.run', 'applied'],
      ['zswap.maxPoolPercent', 'applied'],
      ['zswap.enabled', 'applied'],
    ],
  )
  assert.deepEqual(Object.keys(files).map(read), Object.values(files))

  await world.daemon.stop()
  assert.deepEqual(Object.keys(files).map(read), before)
  await world.startDaemon({})
})
