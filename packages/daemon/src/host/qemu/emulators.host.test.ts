/** The port of emulators on real QEMU: its suite, and what only the real thing can meet. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../../../../tools/require.ts'
import { secretPath } from '../../model/qemu/emulator-plan.ts'
import { testEmulators } from '../../ports/emulators.suite.ts'
import { openRealEmulators, type RealEmulators } from './testing/real-emulators.ts'

const skip = needs('root', 'qemu')
const id = '8f9d6d8e-3a51-4f9e-9d0c-3c8f0a1b2c3d'
const never = new AbortController().signal

testEmulators({
  name: 'QEMU',
  skip,
  async open(t) {
    const real = await openRealEmulators()
    t.after(() => real[Symbol.asyncDispose]())
    return { ...real, request: async (vm) => real.request(vm), kill: (vm) => kill(real, vm) }
  },
})

async function kill(real: RealEmulators, vm: string): Promise<void> {
  const text = await readFile(recordPath(real, vm), 'utf8')
  const { pid } = JSON.parse(text) as { pid: number } // Written by the launch.
  process.kill(pid, 'SIGKILL')
}

function recordPath(real: RealEmulators, vm: string): string {
  return join(real.runtimeDir, 'vms', vm, 'emulator.json')
}

const damages: Readonly<Record<string, (path: string) => Promise<void>>> = {
  'is gone': (path) => rm(path),
  'is cut off': (path) => truncate(path, 20),
  'names another process': async (path) =>
    await writeFile(path, (await readFile(path, 'utf8')).replace(/"pid":\d+/, '"pid":1')),
}

for (const [how, damage] of Object.entries(damages))
  test(`an emulator whose record ${how} is found by its cgroup, whole`, { skip }, async () => {
    await using real = await openRealEmulators()
    const first = await real.emulators.launch(real.request(id), never)
    await first.resume()
    await first.release()
    await damage(recordPath(real, id))

    const found = await (await real.follow()).adopt(id, { timeoutMs: 2_000 })

    assert.ok(found.kind === 'alive', JSON.stringify(found.kind))
    const { emulator } = found
    assert.equal(emulator.record.pid, first.record.pid)
    assert.deepEqual(emulator.record.plan, first.record.plan)
    assert.ok((await emulator.screen.screenshot()).length > 100)
    assert.deepEqual(await real.emulators.inspectCage(id), [])
    const apartMs = Date.parse(emulator.record.startedAt) - Date.parse(first.record.startedAt)
    assert.ok(Math.abs(apartMs) < 5_000, `${apartMs} ms apart`)
    await emulator.release()
  })

test('an emulator starts with a secret that is nowhere to be found afterwards', { skip }, async () => {
  await using real = await openRealEmulators()
  await real.secrets.write('s1', 'hunter2 hunter2')
  const object = { object: 'sec.file-root', secretId: 's1', format: 'raw' } as const
  const asked = real.request(id)
  const json = { 'qom-type': 'secret', id: object.object, file: secretPath(object) }
  const plan = {
    ...asked.plan,
    argv: [...asked.plan.argv, '-object', JSON.stringify(json)],
    secrets: [object],
  }

  const emulator = await real.emulators.launch({ ...asked, plan }, never)

  await emulator.resume()
  assert.equal(await emulator.runState(), 'running')
  const found = spawnSync('grep', ['-rlIs', '--devices=skip', 'hunter2', join(real.runtimeDir, 'vms')])
  assert.equal(found.stdout.toString(), '')
  assert.deepEqual(await readdir(join(real.runtimeDir, 'vms', id, 'share')), ['vnc.sock'])
  assert.deepEqual(await real.emulators.inspectCage(id), [])
  await emulator.release()
})

test('a secret that a dead daemon has laid out is removed when its emulator is taken over', {
  skip,
}, async () => {
  await using real = await openRealEmulators()
  const first = await real.emulators.launch(real.request(id), never)
  await first.resume()
  await first.release()
  const left = join(real.runtimeDir, 'vms', id, 'share', 'sec.file-root')
  await writeFile(left, 'hunter2')

  const found = await (await real.follow()).adopt(id, { timeoutMs: 2_000 })

  assert.equal(found.kind, 'alive')
  assert.equal(existsSync(left), false)
  if (found.kind === 'alive') await found.emulator.release()
})

test('an emulator that is stopped is unresponsive, and runs on', { skip }, async () => {
  await using real = await openRealEmulators()
  const first = await real.emulators.launch(real.request(id), never)
  await first.resume()
  await first.release()
  process.kill(first.record.pid, 'SIGSTOP')
  const next = await real.follow()

  const found = await next.adopt(id, { timeoutMs: 300 })

  assert.equal(found.kind, 'unresponsive')
  process.kill(first.record.pid, 'SIGCONT')
  const again = await next.adopt(id, { timeoutMs: 2_000 })
  assert.equal(again.kind, 'alive')
  if (again.kind === 'alive') await again.emulator.release()
})

test('a statistics monitor that is asked of a dying emulator refuses in our words', { skip }, async () => {
  await using real = await openRealEmulators()
  const emulator = await real.emulators.launch(real.request(id), never)
  process.kill(emulator.record.pid, 'SIGKILL')
  await emulator.closed

  await assert.rejects(emulator.statistics(), { code: 'emulator-unresponsive' })
})

test('a guest that has no operating system lets go of no vCPU, and that is told', { skip }, async () => {
  await using real = await openRealEmulators()
  const emulator = await real.emulators.launch(real.request(id), never)

  await assert.rejects(emulator.vcpus.askForLast(), { code: 'guest-refused' })

  assert.equal(await emulator.vcpus.count(), 2)
})
