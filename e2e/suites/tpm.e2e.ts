/** A guest with a TPM: one process beside its emulator, which ends with it, whoever dies; its state stays with the VM. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

/** The processes that are the TPM of a VM. */
async function tpmsOf(vm: VmHandle): Promise<readonly number[]> {
  const { cgroup = '' } = (await vm.show()).status
  const pids = (await readFile(join(cgroup, 'cgroup.procs'), 'utf8')).trim().split('\n').map(Number)
  const programs = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/exe`).catch(() => '')))
  return pids.filter((_, index) => programs[index] === '/usr/bin/swtpm')
}

test('a guest has a TPM that outlives the daemon and ends with the emulator, and its state is kept', {
  skip: needs('root', 'qemu', 'ovmf', 'swtpm'),
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    machine: { firmware: 'uefi' },
    memory: { size: '256MiB' },
    devices: { tpm: true },
  })
  const { uuid, status } = await vm.show()
  const [tpm = 0, ...others] = await tpmsOf(vm)
  assert.deepEqual(others, [])
  assert.equal(await vm.shell('cat /sys/class/tpm/tpm0/tpm_version_major'), '2')
  // What the firmware told it of itself (TCG PC Client Platform Firmware Profile: PCR 0).
  assert.match(await vm.shell('cat /sys/class/tpm/tpm0/pcr-sha256/0'), /^(?!0+$)[0-9A-F]{64}$/)

  await world.daemon.kill9()
  await world.startDaemon()
  assert.deepEqual(await tpmsOf(vm), [tpm])
  await assertCaged(tpm, status.uid)
  // Nobody else gets its state, not even root.
  const state = join(world.place.stateDir, 'tpm', uuid)
  await assert.rejects(sideBySide(state), /Could not lock/)
  await world.assertCleanAudit()

  process.kill(status.pid ?? 0, 'SIGKILL')
  await vm.untilState('crashed')
  await eventually(async () => (isThere(tpm) ? undefined : true), { withinMs: 10_000, what: 'the TPM ends' })
  assert.ok((await readdir(state)).includes('tpm2-00.permall'))

  await vm.start()
  const [second = 0, ...more] = await tpmsOf(vm)
  assert.deepEqual(more, [])
  process.kill(second, 'SIGKILL')
  await eventually(async () => (isThere(second) ? undefined : true), {
    withinMs: 10_000,
    what: 'it is killed',
  })
  const lost = await eventually(async () => (await vm.show()).status.lostDevices, {
    withinMs: 20_000, // It is looked for every 10 s.
    what: 'the loss is told of',
  })
  assert.match(
    JSON.stringify(lost),
    /"tpm".*swtpm, which is its TPM, has ended.*shut VM web1 down and start it/,
  )
  const { stdout } = await world.cli('audit')
  assert.match(stdout, /missing.*TPM/)
  assert.match(stdout, /Its TPM has ended/)
  assert.equal(await vm.state(), 'running') // The guest goes on without it.
  await vm.powerOff()
  await vm.delete()
  assert.deepEqual(await readdir(join(world.place.stateDir, 'tpm')), [])
})

/** Runs another TPM on the same state, which ends at once. */
async function sideBySide(state: string): Promise<void> {
  const socket = `type=unixio,path=${join(state, '..', 'second.sock')}`
  const args = [
    'socket',
    '--tpm2',
    '--tpmstate',
    `dir=${state}`,
    '--ctrl',
    socket,
    '--flags',
    'startup-clear',
  ]
  await promisify(execFile)('swtpm', args, { timeout: 10_000 })
}

/** It has a user of its own, no capabilities, and nothing of the host but its state. */
async function assertCaged(pid: number, emulatorUid = 0): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  assert.match(status, new RegExp(`^Uid:\\t${emulatorUid + 1}\\t`, 'm'))
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd'])
    assert.match(status, new RegExp(`^${set}:\\t0+$`, 'm'))
  assert.match(status, /^NoNewPrivs:\t1$/m)
  for (const kind of ['net', 'mnt', 'ipc'])
    assert.notEqual(await readlink(`/proc/${pid}/ns/${kind}`), await readlink(`/proc/self/ns/${kind}`), kind)
  assert.ok((await readdir(`/proc/${pid}/root/run/vm`)).includes('tpm2-00.permall'))
  await assert.rejects(readdir(`/proc/${pid}/root/etc/ssl`))
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
