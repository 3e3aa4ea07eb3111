/** A VM that was started with a disk in a folder only is given disks on servers while it runs, and its cage reaches those alone. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { startCeph } from '../../tools/servers/ceph-cluster.ts'
import { openIscsiServer } from '../../tools/servers/iscsi-target.ts'
import { openCephPool } from '../machine/ceph-pool.ts'
import { eventually } from '../machine/eventually.ts'
import { movesOf } from '../machine/moves.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const mib = 2 ** 20
const target = 'iqn.2026-11.example:disks'

test('a LUN is plugged into a VM that had no server, also after its connector and the daemon were killed', {
  skip: needs('root', 'qemu', 'tgt'),
}, async (t) => {
  await using server = await openIscsiServer()
  await server.addTarget(target, [64 * mib, 32 * mib])
  await using world = await openWorld(t)
  const san = { type: 'iscsi' as const, name: 'san', server: server.address, port: server.port, target }
  await world.client.call(endpoints.createPool, { body: san })
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', size: '16MiB' }], nics: [] })
  const pid = await vm.pid()
  assert.deepEqual(connectorsOf(pid), [])

  await plug(world, vm, 'lun-1')
  await vm.shell('echo kept on the server >/dev/vdb; sync')
  assert.match(readFileSync(server.file(target, 1)).subarray(0, 32).toString(), /^kept on the server/)
  await vm.assertCaged()
  assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync('/proc/self/ns/net'))

  const [first] = connectorsOf(pid)
  assert.ok(first !== undefined)
  process.kill(first, 'SIGKILL')
  await untilConnected(pid, first)
  await plug(world, vm, 'lun-2')
  await vm.shell('echo plugged >/dev/vdc; sync')
  assert.match(readFileSync(server.file(target, 2)).subarray(0, 7).toString(), /^plugged/)

  await world.daemon.kill9()
  const [second] = connectorsOf(pid)
  assert.ok(second !== undefined)
  process.kill(second, 'SIGKILL')
  await world.startDaemon()
  await untilConnected(pid, second)
  const { spec } = await vm.show()
  await vm.apply({ ...spec, disks: spec.disks.filter(({ name }) => name !== 'lun-2') })
  await eventually(async () => !(await vm.shell('ls /sys/block')).includes('vdc'), {
    withinMs: 60_000,
    what: 'the guest lets go of the disk',
  })
  await plug(world, vm, 'lun-2', 'again')
  assert.equal(await vm.shell('head -c 7 /dev/vdc'), 'plugged')
  assert.equal(await vm.shell('head -c 18 /dev/vdb'), 'kept on the server')
  await world.assertCleanAudit()
})

test('an RBD image is plugged into a VM that had no server, and its disk in a folder moves there', {
  skip: needs('root', 'qemu', 'ceph'),
}, async (t) => {
  await using ceph = await startCeph()
  await using world = await openWorld(t)
  await openCephPool(world, ceph, 'late')
  const body = { name: 'more', size: 32 * mib, format: 'raw' } as const
  await world.client.call(endpoints.createVolume, { params: { pool: 'ceph1' }, body })
  const vm = await world.bootTiny('web1', { disks: [{ name: 'root', size: '16MiB' }], nics: [] })
  await vm.shell('echo from the folder >/dev/vda; sync')

  await movesOf(world, vm).move('root', { pool: 'ceph1', format: 'raw' })

  assert.equal(await vm.shell('head -c 15 /dev/vda'), 'from the folder')
  const added = await world.cli('vm', 'disk', 'add', 'web1', 'name=more,pool=ceph1,volume=more')
  assert.equal(added.code, 0, added.stderr)
  await untilSeen(vm, 'vdb')
  await vm.shell('echo plugged >/dev/vdb; echo in ceph >/dev/vda; sync')
  assert.equal(await vm.shell('head -c 7 /dev/vdb; head -c 7 /dev/vda'), 'pluggedin ceph')
  assert.equal(connectorsOf(await vm.pid()).length, 1)
  await vm.assertCaged()
  await world.assertCleanAudit()
  await movesOf(world, vm).move('root', { pool: 'default', format: 'qcow2' })
  assert.equal(await vm.shell('head -c 7 /dev/vda'), 'in ceph')
})

async function plug(world: World, vm: VmHandle, lun: string, name = lun): Promise<void> {
  const body = { name: lun, file: lun, format: 'raw' as const }
  const params = { pool: 'san' }
  if (name === lun) await world.client.call(endpoints.importVolume, { params, body })
  const { spec } = await vm.show()
  const before = (await vm.shell('ls /sys/block')).split('\n').filter((disk) => disk.startsWith('vd'))
  await vm.apply({ ...spec, disks: [...spec.disks, { name, pool: 'san', volume: lun }] })
  await untilSeen(vm, `vd${'abcdef'[before.length]}`)
}

async function untilSeen(vm: VmHandle, disk: string): Promise<void> {
  await eventually(async () => (await vm.shell('ls /sys/block')).includes(disk), {
    withinMs: 60_000,
    what: `the guest sees the disk ${disk}`,
  })
}

async function untilConnected(emulator: number, former: number): Promise<void> {
  await eventually(
    async () => {
      const [next] = connectorsOf(emulator)
      return next !== undefined && next !== former
    },
    { withinMs: 60_000, what: 'the VM has a connector again' },
  )
}

/** Who connects for a VM: processes of that name in the cgroup of its emulator. */
function connectorsOf(emulator: number): readonly number[] {
  const cgroup = groupOf(String(emulator))
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && pid !== String(emulator) && groupOf(pid) === cgroup)
    .filter((pid) => read(`/proc/${pid}/comm`).startsWith('kvasir-connect'))
    .map(Number)
}

function groupOf(pid: string): string | undefined {
  return /\/vm-[0-9a-f-]{36}/.exec(read(`/proc/${pid}/cgroup`))?.[0]
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // It has ended.
  }
}
