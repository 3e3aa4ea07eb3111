import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  type ErrorCode,
  host as hostSchema,
  KvasirError,
  hostTopology as topologySchema,
} from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { HugepageDesk } from '../memory/hugepage-desk.ts'
import { EmulatorBinary } from './emulator-binary.ts'
import { createHostFacts } from './host-facts.ts'
import { KvmFacts } from './kvm-facts.ts'

const skip = needs('qemu')

async function newDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-facts-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** A program that stands in QEMU's place; it notes each start in `starts`. */
async function fakeQemu(directory: string, script: string): Promise<string> {
  const path = join(directory, 'qemu')
  await writeFile(path, `#!/bin/sh\necho "$@" >>'${join(directory, 'starts')}'\n${script}\n`)
  await chmod(path, 0o755)
  return path
}

function answering(version: string, kvm = '{"present":true,"enabled":true}'): string {
  const [major, minor] = version.split('.')
  return `cat >/dev/null
cat <<'END'
{"QMP": {"version": {"qemu": {"micro": 0, "minor": ${minor}, "major": ${major}}, "package": ""}, "capabilities": []}}
{"return": {}}
{"return": {"qemu": {"micro": 0, "minor": ${minor}, "major": ${major}}, "package": ""}, "id": "version"}
{"return": [{"name": "pc-q35-${version}", "alias": "q35", "cpu-max": 1}], "id": "machines"}
{"return": [{"name": "tcg-accel"}, {"name": "kvm-accel"}], "id": "accelerators"}
{"return": ${kvm}, "id": "kvm"}
END`
}

async function starts(directory: string): Promise<number> {
  const text = await readFile(join(directory, 'starts'), 'utf8').catch(() => '')
  return text.split('\n').filter(Boolean).length
}

function refusedWith(code: ErrorCode, pattern: RegExp) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

const hugepages = new HugepageDesk({ bootId: 'test', mayReserve: false })

test('the host is described as the contract says', { skip }, async (t) => {
  const facts = createHostFacts({
    hugepages,
    stateDir: await newDirectory(t),
    bootId: 'boot',
    qemu: undefined,
    cgroupName: 'kvasir',
  })

  const described = await facts.describe()

  assert.deepEqual(hostSchema.parse(described), described)
  assert.ok(described.memory.totalBytes > described.memory.availableBytes)
  assert.ok(
    described.qemu.machines.some((machine) => machine.startsWith('pc-q35-') || machine.startsWith('virt-')),
  )
  assert.match(described.qemu.version, /^\d+\.\d+\.\d+$/)
  assert.ok(described.qemu.accelerators.includes('tcg'))
  assert.ok(described.qemu.devices.includes('virtio-blk-pci'))
})

test('the topology of the host is that of the contract, and a moment later the same', { skip }, async (t) => {
  const facts = createHostFacts({
    hugepages,
    stateDir: await newDirectory(t),
    bootId: 'boot',
    qemu: undefined,
    cgroupName: 'kvasir',
  })

  const [topology, again] = await Promise.all([facts.topology(), facts.topology()])

  assert.deepEqual(topologySchema.parse(topology), topology)
  assert.equal(again, topology)
  assert.equal(topology.cpus.length - topology.offline.length, (await facts.describe()).cpu.count)
})

test('a binary is asked once, by many at a time, and again when its content changes', { skip }, async (t) => {
  const directory = await newDirectory(t)
  const path = await fakeQemu(directory, answering('8.1'))
  const open = () => new EmulatorBinary({ binary: path, cachePath: join(directory, 'cache', 'qemu.json') })
  const first = open()

  const answers = await Promise.all([first.capabilities(), first.capabilities(), first.capabilities()])
  const again = await open().capabilities()

  assert.deepEqual(answers[2], {
    version: [8, 1, 0],
    machines: ['pc-q35-8.1'],
    accelerators: ['kvm', 'tcg'],
    devices: [],
    binary: path,
  })
  assert.deepEqual(again, answers[0])
  assert.equal(await starts(directory), 1)
  await utimes(path, 1, 1)
  assert.deepEqual(await open().capabilities(), answers[0])
  assert.equal(await starts(directory), 1)
  await fakeQemu(directory, answering('8.2'))
  assert.deepEqual((await first.capabilities()).version, [8, 2, 0])
  assert.equal(await starts(directory), 2)
})

test('a QEMU that is missing, no program, no QEMU, silent or too old is refused with its reason', {
  skip,
}, async (t) => {
  const directory = await newDirectory(t)
  const ask = async (binary: string) => {
    const cachePath = join(await newDirectory(t), 'qemu.json')
    return new EmulatorBinary({ binary, cachePath, timeoutMs: 300 }).capabilities()
  }
  await writeFile(join(directory, 'text'), 'not a program')

  await assert.rejects(ask(join(directory, 'none')), refusedWith('emulator-missing', /does not exist/))
  await assert.rejects(ask(join(directory, 'text')), refusedWith('emulator-missing', /not a program/))
  await assert.rejects(ask(directory), refusedWith('emulator-missing', /not a program/))
  await assert.rejects(ask('/bin/cat'), refusedWith('emulator-missing', /did not answer/))
  for (const [script, pattern] of [
    ['exit 1', /did not answer/],
    ['echo hello', /does not answer as a QEMU does/],
    ['sleep 60', /did not answer/],
    [answering('7.1'), /is version 7\.1\.0, and 7\.2 is the oldest/],
  ] as const)
    await assert.rejects(
      ask(await fakeQemu(directory, script)),
      refusedWith('emulator-missing', pattern),
      script,
    )
})

test('a host without QEMU is described, and KVM is not chosen for it', { skip }, async (t) => {
  const facts = createHostFacts({
    hugepages,
    stateDir: await newDirectory(t),
    bootId: 'boot',
    qemu: '/nowhere/qemu',
    cgroupName: 'kvasir',
  })

  const described = await facts.describe()

  assert.deepEqual(described.qemu, {
    binary: '/nowhere/qemu',
    version: 'missing',
    machines: [],
    accelerators: [],
    devices: [],
  })
  assert.equal(described.accelerator.kind, 'tcg')
})

function kvmHost(t: TestContext, directory: string, script: string, bootId = 'boot') {
  const device = join(directory, 'kvm')
  return {
    device,
    open: async () => {
      const binary = new EmulatorBinary({
        binary: await fakeQemu(directory, script),
        cachePath: join(await newDirectory(t), 'qemu.json'),
      })
      // The file keeps its identity, although it is written anew.
      await utimes(join(directory, 'qemu'), 1, 1)
      return new KvmFacts({
        bootId,
        cachePath: join(directory, 'kvm.json'),
        findBinary: () => binary.find(),
        devicePath: device,
        readCpuInfo: async () => 'processor : 0\nflags : fpu vmx\n',
      })
    },
  }
}

test('the answer about KVM is kept for the boot, and asked anew when the device changes', {
  skip,
}, async (t) => {
  const directory = await newDirectory(t)
  const host = kvmHost(t, directory, answering('8.1'))
  await writeFile(host.device, '')
  const kvm = await host.open()

  const [first] = await Promise.all([kvm.gather(), kvm.gather()])
  await (await host.open()).gather()

  assert.deepEqual(first, {
    cpuFlags: ['fpu', 'vmx'],
    kvmDevice: 'usable',
    probe: { present: true, enabled: true },
  })
  assert.equal(await starts(directory), 1)
  await utimes(host.device, 1, 1)
  await kvm.gather()
  assert.equal(await starts(directory), 2)
  await (await kvmHost(t, directory, answering('8.1'), 'next boot').open()).gather()
  assert.equal(await starts(directory), 3)
})

test('a probe that fails is a fact and not an error, and is not repeated at once', { skip }, async (t) => {
  const directory = await newDirectory(t)
  const host = kvmHost(t, directory, 'exit 1')
  await writeFile(host.device, '')
  const kvm = await host.open()

  const probes = [(await kvm.gather()).probe, (await kvm.gather()).probe]

  assert.deepEqual(probes, ['failed', 'failed'])
  assert.equal(await starts(directory), 1)
})

test('without the device no probe is started', { skip }, async (t) => {
  const directory = await newDirectory(t)
  const kvm = await kvmHost(t, directory, answering('8.1')).open()

  assert.deepEqual(await kvm.gather(), { cpuFlags: ['fpu', 'vmx'], kvmDevice: 'missing', probe: 'not-run' })
  assert.equal(await starts(directory), 0)
})

test('a kernel to boot is a regular file that is there', { skip }, async (t) => {
  const directory = await newDirectory(t)
  const facts = createHostFacts({
    hugepages,
    stateDir: directory,
    bootId: 'boot',
    qemu: undefined,
    cgroupName: 'kvasir',
  })
  await writeFile(join(directory, 'kernel'), 'x')
  await writeFile(join(directory, 'empty'), '')

  await facts.checkBootFile(join(directory, 'kernel'))
  await assert.rejects(
    facts.checkBootFile(join(directory, 'none')),
    refusedWith('file-not-found', /does not exist/),
  )
  await assert.rejects(
    facts.checkBootFile(join(directory, 'empty')),
    refusedWith('file-not-found', /is empty/),
  )
  await assert.rejects(facts.checkBootFile(directory), refusedWith('file-not-found', /is a directory/))
  await assert.rejects(
    facts.checkBootFile('/dev/null'),
    refusedWith('file-not-found', /character special file/),
  )
})
