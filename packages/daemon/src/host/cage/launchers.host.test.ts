import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { identifyProcess, readDescriptors, waitUntilGone } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { type CageEntry, type EntryOptions, enterCage } from './enter-cage.ts'
import { ADMISSION_DESCRIPTOR, FIRST_DESCRIPTOR, STATUS_DESCRIPTOR } from './launcher-script.ts'
import { HeldLaunchers, type Launcher } from './launchers.ts'
import { eventually, openTestCages, TEST_UID, type TestCages } from './testing/test-cages.ts'

const skip = needs('root')

test('a launcher that is held becomes the program, with its descriptors and no others', {
  skip,
}, async () => {
  await using test = await openTestCages()
  using launchers = await heldLaunchers()
  const held = launchers.heldPid
  await using file = await open(join(test.directory, 'a file'), 'w')

  const program = await sleep(test, { launchers, descriptors: [file.fd, file.fd] })

  assert.equal(program.pid, held)
  assert.equal(launchers.heldPid, undefined)
  const expected = [0, 1, 2, FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + 1]
  await eventually(
    async () => String([...(await readDescriptors(program.pid)).keys()]) === String(expected),
    {
      timeoutMs: 2_000,
      otherwise: 'The program has other descriptors than it was given.',
    },
  )
  assert.equal((await readDescriptors(program.pid)).get(FIRST_DESCRIPTOR), join(test.directory, 'a file'))
  await end(program)
})

test('a launcher takes many descriptors out of as many processes, each into its own place', {
  skip,
}, async () => {
  await using test = await openTestCages()
  using launchers = await heldLaunchers()
  const paths = Array.from({ length: 12 }, (_, index) => join(test.directory, `file ${index}`))
  const holders = await Promise.all(
    paths.map(async (path) => {
      await using file = await open(path, 'w')
      const child = spawn('/usr/bin/sleep', ['60'], { stdio: [file.fd, 'ignore', 'ignore'] })
      await once(child, 'spawn')
      return child
    }),
  )

  try {
    const descriptors = holders.map(({ pid = 0 }) => ({ pid, fd: 0 }))
    const program = await sleep(test, { launchers, descriptors })

    const open = await readDescriptors(program.pid)
    assert.deepEqual(
      paths.map((_, index) => open.get(FIRST_DESCRIPTOR + index)),
      paths,
    )
    await end(program)
  } finally {
    for (const holder of holders) holder.kill('SIGKILL')
  }
})

test('a launcher that was killed while it was held costs a start nothing but time', { skip }, async () => {
  await using test = await openTestCages()
  using launchers = await heldLaunchers()
  const held = launchers.heldPid ?? 0
  // Stopped first: to the daemon it is there until it speaks to it.
  process.kill(held, 'SIGSTOP')
  const starting = sleep(test, { launchers, descriptors: [] })
  process.kill(held, 'SIGKILL')

  const program = await starting

  assert.notEqual(program.pid, held)
  await end(program)
  launchers.holdSoon()
  await untilHeld(launchers)
})

test('where no process may take descriptors of another, launchers inherit them and none is held', {
  skip,
}, async () => {
  await using test = await openTestCages()
  await using file = await open(join(test.directory, 'a file'), 'w')
  let gaveUp = 0
  const launchers = { take: barredLauncher, giveUp: () => (gaveUp += 1) }

  const program = await sleep(test, { launchers, descriptors: [file.fd] })

  assert.equal(gaveUp, 1)
  assert.equal((await readDescriptors(program.pid)).get(FIRST_DESCRIPTOR), join(test.directory, 'a file'))
  await end(program)
})

test('a launcher that is held ends with its daemon, however that ends', { skip }, async () => {
  const daemon = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { HeldLaunchers } = await import(${JSON.stringify(new URL('./launchers.ts', import.meta.url).href)})
       const launchers = new HeldLaunchers()
       launchers.holdSoon()
       setInterval(() => { if (launchers.heldPid) process.stdout.write(launchers.heldPid + '\\n') }, 20)`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const pid = await new Promise<number>((resolve) => {
    daemon.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk.toString().split('\n')[0])))
  })
  const identity = await identifyProcess(pid)
  assert.ok(identity)

  daemon.kill('SIGKILL')

  assert.equal(await waitUntilGone(identity, { timeoutMs: 2_000 }), true)
})

async function heldLaunchers(): Promise<HeldLaunchers> {
  const launchers = new HeldLaunchers()
  launchers.holdSoon()
  await untilHeld(launchers)
  return launchers
}

function untilHeld(launchers: HeldLaunchers): Promise<void> {
  return eventually(() => launchers.heldPid !== undefined, {
    timeoutMs: 5_000,
    otherwise: 'No launcher is held.',
  })
}

function sleep(
  test: TestCages,
  options: Pick<EntryOptions, 'launchers' | 'descriptors'>,
): Promise<CageEntry> {
  return enterCage({
    ...options,
    parameters: {
      template: join(test.directory, 'cage', 'root'),
      logFifo: undefined,
      serialFifo: undefined,
      uid: TEST_UID,
      gid: TEST_UID,
      withoutThp: false,
      withoutIoUring: false,
      endsWithDaemon: false,
      binds: [],
      limits: { openFiles: 64, processes: 16 },
      argv: ['/usr/bin/sleep', '60'],
    },
    output: 'ignore',
    keepsLogs: false,
    admit: async () => {},
    timeoutMs: 10_000,
  })
}

async function end(program: CageEntry): Promise<void> {
  program.keeper?.destroy()
  process.kill(program.pid, 'SIGKILL')
  await program.exited
}

/** What a held launcher does on a host whose security module forbids pidfd_getfd(2). */
function barredLauncher(): Launcher {
  const stdio: ('ignore' | 'pipe')[] = Array.from({ length: ADMISSION_DESCRIPTOR + 1 }, () => 'ignore')
  stdio[STATUS_DESCRIPTOR] = 'pipe'
  stdio[ADMISSION_DESCRIPTOR] = 'pipe'
  const text = String.raw`printf '@step namespaces\n@step descriptors\npidfd_getfd 20: Operation not permitted\n' >&3; exit 70`
  const child = spawn('/bin/sh', ['-c', text], { detached: true, stdio })
  const { [STATUS_DESCRIPTOR]: status, [ADMISSION_DESCRIPTOR]: admission }: readonly unknown[] = child.stdio
  assert.ok(child.pid !== undefined && status instanceof Socket && admission instanceof Socket)
  admission.on('error', () => {})
  const exited = new Promise<Awaited<Launcher['exited']>>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined }))
  })
  return { child, pid: child.pid, status, admission, keeper: undefined, exited }
}
