/** Folders of the host in a guest: what it reads and writes there, what serves them and is caged, and what becomes of both when one dies. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

/** The loss is looked for every 10 s. */
const withinMs = 30_000
/** chown, dac_override, fowner, fsetid, setgid, setuid. */
const fileCapabilities = '00000000000000db'

/** The processes that serve the folders of a VM, in the order of their shares. */
async function serversOf(vm: VmHandle): Promise<readonly number[]> {
  return await serversIn((await vm.show()).status.cgroup)
}

async function serversIn(cgroup = ''): Promise<readonly number[]> {
  const pids = (await readFile(join(cgroup, 'cgroup.procs'), 'utf8')).trim().split('\n').map(Number)
  const programs = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/exe`).catch(() => '')))
  return pids.filter((_, index) => programs[index]?.endsWith('/virtiofsd'))
}

test('a guest reads and writes folders of the host, and those that serve them are caged and end with it', {
  skip: needs('root', 'qemu'),
}, async (t) => {
  const top = await mkdtemp(join(tmpdir(), 'kvasir-shares-'))
  t.after(() => rm(top, { recursive: true, force: true }))
  const [www, docs] = [join(top, 'www'), join(top, 'docs')]
  for (const folder of [www, docs]) await mkdir(folder)
  await writeFile(join(www, 'hello'), 'from the host')
  await symlink('/etc', join(www, 'out'))
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    shares: [
      { name: 'www', folder: www },
      { name: 'docs', folder: docs, readOnly: true },
    ],
  })
  const { spec, status } = await vm.show()
  assert.equal(spec.memory.sharing, 'shared')

  await vm.shell('mkdir /www /docs; mount -t virtiofs www /www; mount -t virtiofs docs /docs')
  assert.equal(await vm.shell('cat /www/hello'), 'from the host')
  await vm.shell('echo -n from the guest >/www/answer; chown 1234:1235 /www/answer; mkdir /www/sub')
  assert.equal(await readFile(join(www, 'answer'), 'utf8'), 'from the guest')
  const { uid, gid } = await stat(join(www, 'answer'))
  assert.deepEqual([uid, gid], [1234, 1235])
  assert.equal((await stat(join(www, 'sub'))).uid, 0)
  assert.match(await vm.shell('cat /www/out/hostname 2>&1 || true'), /No such file/)
  assert.match(await vm.shell('touch /docs/x 2>&1 || true'), /Read-only file system/)
  const servers = await serversOf(vm)
  assert.equal(servers.length, 2)
  for (const server of servers) await assertCaged(server)
  await world.daemon.kill9()
  await world.startDaemon()
  await world.assertCleanAudit()
  assert.equal(await vm.shell('cat /www/hello'), 'from the host')
  assert.match((await world.cli('vm', 'save', 'web1')).stderr, /has shares .* its memory is not saved/)

  for (const server of servers) process.kill(server, 'SIGKILL')
  const lost = async () => (await vm.show()).status.lostDevices ?? []
  const haveEnded = async () => ((await lost()).length === 2 ? true : undefined)
  await eventually(haveEnded, { withinMs, what: 'the status says that nobody serves them' })
  assert.match((await lost())[0]?.reason ?? '', /^virtiofsd, which serves share www, has ended/)
  assert.equal(await vm.state(), 'running')
  process.kill(status.pid ?? 0, 'SIGKILL')
  await vm.untilState('crashed')
  await vm.start()
  assert.deepEqual(await lost(), [])
  const others = await serversOf(vm)
  assert.equal(others.length, 2)
  await vm.powerOff()
  const haveGone = async () => (others.some(isThere) ? undefined : true)
  await eventually(haveGone, { withinMs, what: 'they end with the VM' })

  await rm(docs, { recursive: true })
  await symlink(www, docs)
  assert.match((await world.cli('vm', 'start', 'web1')).stderr, /docs leads through a link to .*www/)
  const { stateDir } = world.place
  const refused = [
    [join(top, 'none'), /does not exist/],
    [join(www, 'hello'), /is a regular file and not a folder/],
    [join(stateDir, 'nvram'), /is where Kvasir keeps the state of VMs/],
    ['/', /holds where Kvasir keeps the state of VMs/],
  ] as const
  for (const [folder, why] of refused)
    assert.match((await world.cli('vm', 'create', 'other', '--share', folder)).stderr, why)
})

test('a share comes and goes while the guest runs, whatever the daemon dies of in between', {
  skip: needs('root', 'qemu'),
}, async (t) => {
  const www = await mkdtemp(join(tmpdir(), 'kvasir-share-'))
  t.after(() => rm(www, { recursive: true, force: true }))
  await writeFile(join(www, 'hello'), 'from the host')
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const vm = await world.bootTiny('web1', { memory: { sharing: 'shared' } })
  const change = async (verb: 'add' | 'remove', share: string) =>
    await world.cli('vm', 'share', verb, 'web1', share)
  const hello = async () => {
    await vm.shell('mkdir -p /www; mount -t virtiofs www /www')
    assert.equal(await vm.shell('cat /www/hello; umount /www'), 'from the host')
  }

  assert.match((await change('add', `${www},name=www`)).stderr, /Share www is plugged\./)
  await hello()
  for (const server of await serversOf(vm)) await assertCaged(server)
  assert.match((await change('remove', 'www')).stderr, /Share www is gone\./)

  const { cgroup } = (await vm.show()).status
  await failpoints.arm('emulator.plug-share.after-server', 'stop')
  const silent = change('add', `${www},name=www`)
  const isServed = async () =>
    (await isStopped(world.daemon.pid)) ? (await serversIn(cgroup))[0] : undefined
  const hanging = await eventually(isServed, { withinMs, what: 'something serves and the daemon stands' })
  process.kill(hanging, 'SIGSTOP')
  await failpoints.disarm()
  world.daemon.signal('SIGCONT')
  assert.match(
    (await silent).stderr,
    /^virtiofsd, .* did not answer QEMU in 5 s, .* the share is not plugged\./m,
  )
  assert.deepEqual(await serversOf(vm), [], 'What hung is ended.')
  await vm.isCounting()
  assert.match((await change('remove', 'www')).stderr, /VM web1 is changed/)
  assert.match((await change('add', `${www},name=www`)).stderr, /Share www is plugged\./)
  assert.match((await change('remove', 'www')).stderr, /Share www is gone\./)
  for (const [point, wanted] of [
    ['emulator.plug-share.after-server', 1],
    ['vm.shares.after-release', 0],
    ['emulator.plug-share.after-back-end', 1],
    ['vm.shares.before-ask', 0],
    ['emulator.plug-share.after-device', 1],
  ] as const) {
    await failpoints.arm(point, 'exit')
    const asked = wanted === 1 ? change('add', `${www},name=www`) : change('remove', 'www')
    await Promise.all([asked, world.daemon.exited])
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)
    const isSo = async () => {
      const { restartNeeded, job } = (await vm.show()).status
      const isSettled = restartNeeded?.length === 0 && job === undefined
      return isSettled && (await serversOf(vm)).length === wanted
    }
    await eventually(isSo, { withinMs, what: `${point}: served as was wanted` })
    await vm.assertCaged()
  }
  await hello()
})

/** It has the capabilities that files take, no network, and nothing of the host but its folder, which is its root. */
async function assertCaged(pid: number): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  for (const set of ['CapPrm', 'CapEff'])
    assert.match(status, new RegExp(`^${set}:\\t${fileCapabilities}$`, 'm'))
  assert.match(status, /^NoNewPrivs:\t1$/m)
  assert.match(status, /^Seccomp:\t2$/m)
  for (const kind of ['net', 'mnt', 'ipc', 'uts'])
    assert.notEqual(await readlink(`/proc/${pid}/ns/${kind}`), await readlink(`/proc/self/ns/${kind}`), kind)
  await assert.rejects(stat(`/proc/${pid}/root/usr`))
}

async function isStopped(pid: number): Promise<boolean> {
  return /^State:\tT/m.test(await readFile(`/proc/${pid}/status`, 'utf8'))
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
