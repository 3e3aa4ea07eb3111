/**
 * Whether the CPUs of our command lines are what QEMU makes of them: each baseline has its flags and no others of its kind, room for
 * vCPUs is there, and slots are filled in the order that we count in.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type VmSpecInput, vmSpec } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { cpuArgs } from './cpu.ts'
import { type Monitor, openMonitor } from './testing/plain-monitor.ts'

const skip = needs('qemu')
const binary = 'qemu-system-x86_64'
const limitMs = 20_000

interface Running {
  readonly monitor: Monitor
  readonly stderr: () => string
}

/** A QEMU with the CPU of a spec that stands before its first instruction. */
async function start(cpu: VmSpecInput['cpu'], undo: AsyncDisposableStack): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'kvc-'))
  undo.defer(() => rmSync(folder, { recursive: true, force: true }))
  const qemu = { version: [7, 2, 0] as [number, number, number], machines: ['pc-q35-7.2'] }
  const args = cpuArgs({
    name: 'web1',
    uuid: '3c4f9f6a-7e43-4b0e-9d55-0c8a1f6f2b10',
    spec: vmSpec.parse({ cpu }),
    hardware: { machine: 'pc-q35-7.2', pci: {}, vsockCid: undefined },
    accelerator: 'tcg',
    qemu,
    disks: [],
    kernel: undefined,
    seedPath: undefined,
    vsock: false,
    restorePath: undefined,
  })
  const path = join(folder, 'monitor')
  const fixed = ['-nodefaults', '-no-user-config', '-display', 'none', '-S', '-accel', 'tcg', '-m', '16M']
  const child = spawn(
    binary,
    [...fixed, '-machine', 'pc-q35-7.2', '-qmp', `unix:${path},server=on,wait=off`, ...args],
    { timeout: limitMs, killSignal: 'SIGKILL' },
  )
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += String(chunk)
  })
  const ended = once(child, 'exit')
  undo.defer(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const monitor = await openWhenThere(path, () => child.exitCode === null, undo).catch((cause: unknown) => {
    throw new Error(`QEMU did not come up: ${stderr}`, { cause })
  })
  return { monitor, stderr: () => stderr }
}

async function openWhenThere(
  path: string,
  lives: () => boolean,
  undo: AsyncDisposableStack,
): Promise<Monitor> {
  const endMs = performance.now() + limitMs
  for (;;) {
    try {
      return await openMonitor(path, { undo })
    } catch (error) {
      if (!lives() || performance.now() > endMs) throw error
      await sleep(20)
    }
  }
}

async function flagOf(monitor: Monitor, property: string): Promise<unknown> {
  return await monitor.ask('qom-get', { path: '/machine/unattached/device[0]', property })
}

const cases = {
  'x86-64-v2': { has: ['sse4.2', 'ssse3', 'cx16', 'lahf-lm', 'popcnt', 'pni'], lacks: ['avx', 'aes', 'svm'] },
  'x86-64-v3': {
    has: ['avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'xsave'],
    lacks: ['avx512f', 'svm'],
  },
} as const

for (const [model, { has, lacks }] of Object.entries(cases))
  test(`${model} has the flags of its level and none above`, { skip }, async () => {
    await using undo = new AsyncDisposableStack()
    const { monitor, stderr } = await start({ model }, undo)

    const shown = await Promise.all([...has, ...lacks].map((flag) => flagOf(monitor, flag)))

    assert.deepEqual(shown, [...has.map(() => true), ...lacks.map(() => false)])
    assert.deepEqual(await flagOf(monitor, 'unavailable-features'), [])
    assert.equal(stderr(), '')
  })

test('x86-64-v4 does not come up where AVX-512 is lacking', { skip }, async () => {
  await using undo = new AsyncDisposableStack()

  await assert.rejects(start({ model: 'x86-64-v4' }, undo), /avx512/i)
})

test('flags and nesting are what the spec says', { skip }, async () => {
  await using undo = new AsyncDisposableStack()
  const { monitor } = await start(
    { model: 'x86-64-v2', nested: true, features: { aes: true, popcnt: false } },
    undo,
  )

  assert.deepEqual(await Promise.all(['svm', 'aes', 'popcnt'].map((flag) => flagOf(monitor, flag))), [
    true,
    true,
    false,
  ])
})

interface Slot {
  readonly props: Readonly<Record<string, number>>
  readonly 'qom-path'?: string
}

test('with room to grow the first slots are filled, thread by thread and core by core', {
  skip,
}, async () => {
  await using undo = new AsyncDisposableStack()
  const topology = { sockets: 2, dies: 2, cores: 2, threads: 2 }
  const { monitor } = await start({ model: 'Nehalem-v1', count: 5, max: 16, topology }, undo)

  const slots = (await monitor.ask('query-hotpluggable-cpus')) as readonly Slot[] // QMP: HotpluggableCPU.

  assert.equal(slots.length, 16)
  const filled = slots.filter((slot) => slot['qom-path'] !== undefined).map(({ props }) => props)
  assert.deepEqual(
    filled
      .map((props) => ['socket-id', 'die-id', 'core-id', 'thread-id'].map((key) => props[key]).join('.'))
      .sort(),
    ['0.0.0.0', '0.0.0.1', '0.0.1.0', '0.0.1.1', '0.1.0.0'],
  )
})
