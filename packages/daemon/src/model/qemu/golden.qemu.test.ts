/**
 * Gives every golden command line that the QEMU at hand can run to it, with real files and sockets behind the descriptors, and asks
 * over QMP whether what was planned is there. Outside a cage: the cage's two folders are replaced by one of the test's.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { truncate, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { connectPair } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { buildEmulator } from './build-emulator.ts'
import { type Descriptor, type EmulatorPlan, firstDescriptor, serialLogDescriptor } from './emulator-plan.ts'
import type { GoldenCase } from './golden-case.ts'
import { goldenCases } from './golden-cases.ts'
import { emptyKernel } from './testing/empty-kernel.ts'
import { type Monitor, openMonitor } from './testing/plain-monitor.ts'
import { startTpm } from './testing/plain-tpm.ts'
import { skipFor } from './testing/skip-golden.ts'

const binary = 'qemu-system-x86_64'
const stepTimeoutMs = 10_000
const fewestRun = 20
const withoutQemu = needs('qemu')
const version = withoutQemu === false ? readVersion() : ([0, 0] as const)

function readVersion(): readonly [major: number, minor: number] {
  const text = execFileSync(binary, ['--version'], { encoding: 'utf8', timeout: stepTimeoutMs })
  const [, major = '0', minor = '0'] = /version (\d+)\.(\d+)/.exec(text) ?? []
  return [Number(major), Number(minor)]
}

/** Golden command lines for a newer QEMU have options that this one does not know; taps take root, and are tried end to end. */
function isForOthers({ input }: GoldenCase): boolean {
  const [major, minor] = input.qemu.version
  const { hostDevices, shares } = input.spec
  const isOfHost = input.networks !== undefined || hostDevices.length > 0 || shares.length > 0
  return isOfHost || major > version[0] || (major === version[0] && minor > version[1])
}

/** One test's folder, and all that it opens; disposing closes and removes everything. */
class Bench implements AsyncDisposable {
  readonly folder = fs.mkdtempSync(join(tmpdir(), 'kvg-'))
  readonly undo = new AsyncDisposableStack()

  constructor() {
    this.undo.defer(() => fs.rmSync(this.folder, { recursive: true, force: true }))
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  async listen(path: string, onConnection: (socket: Socket) => void = () => {}): Promise<Server> {
    const server = createServer(onConnection).listen(path)
    await once(server, 'listening')
    this.undo.defer(() => {
      server.close()
    })
    return server
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.undo.disposeAsync()
  }
}

function openFor(bench: Bench, path: string, flags: number): number {
  const fd = fs.openSync(path, flags, 0o600)
  bench.undo.defer(() => fs.closeSync(fd))
  return fd
}

/** The number of a listening socket's descriptor, which only libuv's handle knows. */
function descriptorOf(server: Server): number {
  const handle: unknown = Reflect.get(server, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  assert.ok(typeof fd === 'number')
  return fd
}

interface OpenDescriptors {
  readonly fds: readonly number[]
  /** The listeners, which this process must let go of once QEMU has them: it would take QEMU's connections. */
  readonly listeners: readonly Server[]
}

/** Makes what stands behind each descriptor, in order. A file that exists already stays as it is. */
async function openDescriptors(plan: EmulatorPlan, bench: Bench): Promise<OpenDescriptors> {
  const fds: number[] = []
  const listeners: Server[] = []
  for (const descriptor of plan.descriptors) {
    if (descriptor.kind === 'listener') {
      // Closing a server removes its path, so QEMU's has another name by then.
      const listener = await bench.listen(bench.path('new'))
      fs.renameSync(bench.path('new'), bench.path(descriptor.socket))
      listeners.push(listener)
      fds.push(descriptorOf(listener))
      continue
    }
    if (descriptor.kind === 'nic' || descriptor.kind === 'tap' || descriptor.kind === 'share') {
      const ends = await connectPair(bench.folder)
      for (const end of ends) bench.undo.defer(() => end.release())
      fds.push(ends[0].fd)
      continue
    }
    if (descriptor.kind === 'tpm') {
      fds.push(await startTpm(bench))
      continue
    }
    const path =
      descriptor.kind === 'file' ? bench.path(descriptor.path.replaceAll('/', '_')) : descriptor.path
    if (!fs.existsSync(path)) await makeDisk(path)
    fds.push(openFor(bench, path, openFlags(descriptor)))
  }
  return { fds, listeners }
}

function openFlags(
  descriptor: Exclude<Descriptor, { readonly kind: 'listener' | 'nic' | 'tap' | 'tpm' | 'share' }>,
): number {
  if (descriptor.kind === 'device') return fs.constants.O_RDWR
  const mode = descriptor.access === 'read' ? fs.constants.O_RDONLY : fs.constants.O_RDWR
  return descriptor.direct ? mode | fs.constants.O_DIRECT : mode
}

async function makeDisk(path: string): Promise<void> {
  if (path.endsWith('.qcow2')) {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, '16M'], { timeout: stepTimeoutMs })
    return
  }
  await writeFile(path, '')
  await truncate(path, path.endsWith('.fd') ? 2 ** 18 : 2 ** 24) // Flash devices are 8 MiB at most in all.
}

interface Started {
  readonly monitor: Monitor
  /** Ends QEMU and gives what it wrote to stderr. */
  readonly quit: () => Promise<string>
}

async function startPlan(plan: EmulatorPlan, bench: Bench): Promise<Started> {
  await writeFile(bench.path('kernel'), emptyKernel())
  await writeFile(bench.path('initrd'), 'initrd')
  const stdio: ('ignore' | 'pipe' | number)[] = Array.from({ length: firstDescriptor }, () => 'ignore')
  stdio[2] = 'pipe'
  stdio[serialLogDescriptor] = openFor(
    bench,
    bench.path('serial.log'),
    fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_CREAT,
  )
  const { fds, listeners } = await openDescriptors(plan, bench)
  stdio.push(...fds)

  const argv = plan.argv.map((arg) =>
    arg
      .replaceAll('/run/vm/', `${bench.folder}/`)
      .replaceAll('"/memory/', `"${bench.folder}/`)
      .replace(/^\/boot\//, `${bench.folder}/`),
  )
  const qemu = spawn(binary, argv, { stdio, timeout: 3 * stepTimeoutMs, killSignal: 'SIGKILL' })
  for (const listener of listeners) listener.close()
  const ended = once(qemu, 'exit')
  bench.undo.defer(async () => {
    qemu.kill('SIGKILL')
    if (qemu.exitCode === null && qemu.signalCode === null) await ended
  })
  let stderr = ''
  qemu.stderr?.on('data', (chunk) => {
    stderr += String(chunk)
  })
  const failed = ended.then(() => assert.fail(`QEMU ended: ${stderr}`))
  const monitor = await Promise.race([openMonitor(bench.path('monitor'), bench), failed])
  failed.catch(() => {})
  return {
    monitor,
    async quit() {
      await monitor.ask('quit')
      await ended
      return stderr
    },
  }
}

/** The `id` or `node-name` of each JSON option of one kind. */
function namesIn(plan: EmulatorPlan, option: string, key: string): readonly string[] {
  return plan.argv.flatMap((arg, index) => {
    if (plan.argv[index - 1] !== option) return []
    const name: unknown = Reflect.get(JSON.parse(arg) as object, key) // Written by jsonOption.
    return typeof name === 'string' ? [name] : []
  })
}

function namesOf(answer: unknown, key: string): readonly string[] {
  assert.ok(Array.isArray(answer))
  return answer.map((entry: object) => String(Reflect.get(entry, key)))
}

const sorted = (names: readonly string[]): readonly string[] => [...names].sort((a, b) => (a < b ? -1 : 1))

/** Saves the memory of the same VM where the plan of its restoring looks for it. */
async function saveMemory(golden: GoldenCase, bench: Bench): Promise<void> {
  const file = fs.createWriteStream(bench.path('_srv_saved'))
  const received = Promise.withResolvers<void>()
  await bench.listen(bench.path('migration'), (socket) => {
    pipeline(socket, file).then(received.resolve, received.reject)
  })
  await using first = new Bench()
  const { monitor, quit } = await startPlan(buildEmulator({ ...golden.input, restorePath: undefined }), first)
  await monitor.ask('cont')
  await monitor.ask('stop')
  await monitor.ask('migrate', { uri: `unix:${bench.path('migration')}` })
  await received.promise
  await quit()
}

/** The run state, once saved memory has been read. */
async function statusOf(monitor: Monitor): Promise<string> {
  const deadline = Date.now() + stepTimeoutMs
  let status = 'inmigrate'
  while (status === 'inmigrate' && Date.now() < deadline) {
    status = String(Reflect.get((await monitor.ask('query-status')) as object, 'status')) // QMP: StatusInfo.
  }
  return status
}

/** A newer QEMU may say that an option of an older one will go; a plan for the newer one no longer has it. */
const withoutDeprecations = (text: string): string => text.replaceAll(/^.* is deprecated\..*\n/gm, '')

let started = 0
const runnable = withoutQemu === false ? goldenCases.filter((golden) => !isForOthers(golden)) : []

for (const golden of runnable) {
  test(`QEMU takes the command line of ${golden.name}`, { skip: skipFor(golden) }, async () => {
    await using bench = new Bench()
    const plan = buildEmulator(golden.input)
    const restores = golden.input.restorePath !== undefined
    if (restores) await saveMemory(golden, bench)

    const { monitor, quit } = await startPlan(plan, bench)
    const status = await statusOf(monitor)
    const nodes = namesOf(await monitor.ask('query-named-block-nodes', { flat: true }), 'node-name')
    const devices = namesOf(await monitor.ask('qom-list', { path: '/machine/peripheral' }), 'name')
    const statistics = await openMonitor(bench.path('statistics'), bench)
    const uuid: unknown = await statistics.ask('query-uuid')
    const complaints = await quit()

    assert.equal(status, restores ? 'paused' : 'prelaunch')
    assert.deepEqual(sorted(nodes), sorted(namesIn(plan, '-blockdev', 'node-name')))
    assert.deepEqual(
      sorted(devices.filter((name) => name !== 'type')),
      sorted(namesIn(plan, '-device', 'id')),
    )
    assert.deepEqual(uuid, { UUID: golden.input.uuid })
    assert.equal(golden.input.qemu.version[0] < version[0] ? withoutDeprecations(complaints) : complaints, '')
    started += 1
  })
}

test(`more than ${fewestRun} golden command lines were started`, { skip: withoutQemu }, (context) => {
  const others = goldenCases.filter((golden) => !runnable.includes(golden)).map(({ name }) => name)
  context.diagnostic(
    `with taps or devices of the host, or for a newer QEMU than ${version.join('.')}: ${others.join(', ') || 'none'}`,
  )
  assert.ok(started > fewestRun, `${started} were started`)
})
