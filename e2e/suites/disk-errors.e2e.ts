/** A pool that is full under a guest that writes, and disks that VMs have in ways of their own: shared, many, on SATA. */
import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, type VmSpecInput } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { runTool } from '../machine/host-tools.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const mib = 2 ** 20
const signal = AbortSignal.timeout(600_000)

test('a disk whose pool is full pauses its VM, which says so, and goes on with nothing lost when there is room', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const path = join(world.place.base, 'small')
  await mkdir(path, { mode: 0o755 })
  await runTool('mount', '-t', 'tmpfs', '-o', 'size=24m,mode=755', 'tmpfs', path)
  try {
    await world.client.call(endpoints.createPool, { body: { type: 'dir', name: 'small', path } })
    const ballast = join(path, 'ballast')
    const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'small', size: 64 * mib }] })
    await writeFile(ballast, Buffer.alloc(16 * mib, 1))

    await vm.shell(
      '(seq 1 2000000 | head -c 12582912 >/tmp/written; dd if=/tmp/written of=/dev/vda bs=64k conv=fsync; echo $? >/tmp/code) >/dev/null 2>&1 & true',
    )

    const full = await vm.untilState('paused', { withinMs: 60_000 })
    assert.equal(full.status.reason, 'io-error, no space left under disk data')
    await world.daemon.stop()
    await world.startDaemon()
    assert.equal(await vm.stateAndReason(), 'paused: io-error, no space left under disk data')
    await vm.resume().catch(() => undefined)
    await vm.untilState('paused', { withinMs: 60_000 })
    await rm(ballast)
    await vm.resume()
    await eventually(async () => ((await vm.run('cat /tmp/code')).stdout.trim() === '0' ? true : undefined), {
      withinMs: 60_000,
      what: 'the guest has written all',
    })
    assert.equal(
      await vm.shell('dd if=/dev/vda bs=64k count=192 2>/dev/null | cmp - /tmp/written && echo same'),
      'same',
    )
    await vm.powerOff()
    await vm.delete()
    await world.client.call(endpoints.deletePool, { params: { pool: 'small' } })
  } finally {
    await runTool('umount', '--lazy', path)
  }
})

test('requests are counted by how long they took, in the status and in the metrics', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    disks: [
      { name: 'data', size: 32 * mib, aio: 'io_uring', ioThread: 'pair', detectZeroes: 'unmap' },
      { name: 'log', size: 32 * mib, bus: 'virtio-scsi', ioThread: 'pair' },
    ],
  })
  const disk = async () => (await vm.show()).status.disks?.find((one) => one.disk === 'data')
  await eventually(async () => (await disk())?.latency, { withinMs: 20_000, what: 'QEMU counts' })

  await vm.shell(
    'dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null; dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null',
  )

  const sum = (counts: readonly number[] = []) => counts.reduce((all, count) => all + count, 0)
  await eventually(async () => (sum((await disk())?.latency?.writes) > 0 ? true : undefined), {
    withinMs: 20_000,
    what: 'writes are counted',
  })
  const { latency, aio } = (await disk()) ?? {}
  assert.ok(sum(latency?.flushes) > 0)
  assert.match(
    `${aio?.mode} ${aio?.reason}`,
    /^(io_uring the spec says so|threads the spec says io_uring, but)/,
  )
  assert.deepEqual(
    (await vm.show()).status.ioThreads?.map((thread) => thread.disk),
    ['pair'],
  )
  const shown = await world.cli('vm', 'show', 'web1')
  assert.match(shown.stdout, /99 % of writes/)
})

test('LUNs of one controller and more disks than slots come and go while the guest runs', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const lun = (index: number) =>
    ({ name: `lun${index}`, bus: 'virtio-scsi', controller: 'shelf', size: mib }) as const
  const plain = (index: number) => ({ name: `plain${index}`, size: mib }) as const
  const luns = (count: number) => Array.from({ length: count }, (_, index) => lun(index))
  const vm = await world.bootTiny('web1', { machine: { spareSlots: 4 }, disks: luns(3) })
  const set = async (disks: NonNullable<VmSpecInput['disks']>) => {
    const { spec } = await vm.show()
    const { status } = await vm.apply({ ...spec, disks })
    const job = await world.client.call(endpoints.getJob, { params: { id: status.job ?? '' } })
    return await waitForJob(world.client, job, { signal })
  }
  const untilCounted = (wanted: string) =>
    eventually(
      async () =>
        (await vm.shell('ls /sys/block | grep -c sd; ls /sys/block | grep -c vd; true')) === wanted
          ? true
          : undefined,
      {
        withinMs: 60_000,
        what: `the guest has ${wanted.replace('\n', ' and ')} disks`,
      },
    )
  await untilCounted('3\n0')

  const came = await set([...luns(20), ...[0, 1, 2, 3].map(plain)])

  assert.equal(came.state, 'succeeded', JSON.stringify(came.error))
  await untilCounted('20\n4')
  await vm.assertCaged()
  const went = await set([lun(0), lun(19)])
  assert.equal(went.state, 'succeeded', JSON.stringify(went.error))
  await untilCounted('2\n0')
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  await untilCounted('2\n0')
})

test('two VMs that run share a raw volume: what one writes the other reads', { skip }, async (t) => {
  await using world = await openWorld(t)
  const body = { name: 'cluster', size: 16 * mib, format: 'raw' as const }
  await world.client.call(endpoints.createVolume, { params: { pool: 'default' }, body })
  const disks = [{ name: 'data', volume: 'cluster', shareable: true }]
  const [one, two] = await Promise.all([world.bootTiny('one', { disks }), world.bootTiny('two', { disks })])

  await one.shell('echo from one | dd of=/dev/vda bs=512 seek=8 conv=fsync 2>/dev/null')
  await two.shell('echo from two | dd of=/dev/vda bs=512 seek=16 conv=fsync 2>/dev/null')

  const read = (block: number) =>
    `dd if=/dev/vda bs=512 skip=${block} count=1 iflag=direct 2>/dev/null | head -n 1`
  assert.equal(await two.shell(read(8)), 'from one')
  assert.equal(await one.shell(read(16)), 'from two')
})
