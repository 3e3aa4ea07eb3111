import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { WebSocket } from 'ws'
import { createConsoleDesk } from '../../services/consoles/console-desk.ts'
import type { ConsoleMode } from '../../services/consoles/tickets.ts'
import { EmulatorProcess } from '../../simulated/emulator-process.ts'
import { SimulatedMachine } from '../../simulated/machine.ts'
import { SimulatedClock } from '../../simulated/simulated-clock.ts'
import { SimulatedEmulator } from '../../simulated/simulated-emulator.ts'
import { createSimulatedEmulators } from '../../simulated/simulated-emulators.ts'
import { startApi } from '../testing/running-api.ts'
import { bytesOf } from './bytes-of.ts'

const plan = {
  argv: [],
  descriptors: [],
  binds: [],
  userNics: [],
  memory: {
    fileSystem: undefined,
    withoutThp: false,
    lockableBytes: undefined,
    touchedBytes: 0,
    loadedBytes: 0,
  },
  reach: [],
  mostIoThreads: 0,
  secrets: [],
  ids: { ioThreads: [], disks: {}, nics: {}, vncSocketName: 'vnc' },
}

async function startConsoles() {
  const machine = new SimulatedMachine(new SimulatedClock())
  const guest = new EmulatorProcess(machine, {
    id: 'a',
    uuid: 'a',
    name: 'web1',
    uid: 1,
    plan,
    memo: '',
    vcpuCount: 1,
    memoryBytes: 2 ** 28,
  })
  const emulator = new SimulatedEmulator(guest, machine)
  const emulators = createSimulatedEmulators(machine)
  const desk = createConsoleDesk({
    openSerial: () => emulator.connectSerial(),
    openVnc: () => emulator.screen.connectVnc(),
    openSpice: () => emulator.screen.connectSpice(),
    readScrollback: (id, bytes) => emulators.readLog(id, 'serial', bytes),
    clock: machine.clock,
    log: { debug() {}, info() {}, warn() {}, error() {} },
  })
  guest.resume()
  const api = await startApi({ consoles: desk })
  return {
    api,
    desk,
    guest,
    open: (mode: ConsoleMode) =>
      listen(
        api.openSocket(
          `/v1/streams/console?ticket=${desk.issueSerial({ vmId: 'a', vmName: 'web1', mode }).ticket}`,
        ),
      ),
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

/** Notes what a WebSocket says. */
function listen(socket: WebSocket) {
  const seen = { socket, texts: [] as Record<string, unknown>[], output: '' }
  socket.on('message', (data, isBinary) => {
    if (isBinary) seen.output += bytesOf(data).toString()
    else seen.texts.push(JSON.parse(bytesOf(data).toString()))
  })
  return seen
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 5) {
    assert.ok(waited < 2_000, 'what was waited for did not happen')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('a console says hello, shows the past and the present, and takes what is typed', async () => {
  await using consoles = await startConsoles()
  const scrollback = '\r\nWelcome to the simulated guest\r\nweb1 login: '

  const console = consoles.open('write')
  await until(() => console.output === scrollback)
  console.socket.send(Buffer.from('root\r'))
  await until(() => console.output.length > scrollback.length)

  assert.deepEqual(console.texts, [{ kind: 'hello', mode: 'write', scrollbackBytes: scrollback.length }])
  assert.equal(console.output, `${scrollback}root\r\n# `)
  console.socket.terminate()
})

test('a reader is told that its typing goes nowhere, once', async () => {
  await using consoles = await startConsoles()
  const console = consoles.open('read')
  await until(() => console.texts.length === 1)

  for (let count = 0; count < 10; count++) console.socket.send(Buffer.from('x'))
  await until(() => console.texts.length === 2)
  await new Promise((resolve) => setTimeout(resolve, 20))

  assert.equal(console.texts.length, 2)
  assert.equal(console.texts[1]?.['kind'], 'notice')
  assert.ok(!console.output.includes('x'))
  console.socket.terminate()
})

test('a console is taken over, and a writer that vanishes frees it', async () => {
  await using consoles = await startConsoles()
  const first = consoles.open('write')
  await until(() => first.texts.length === 1)

  const taker = consoles.open('take-over')
  await until(() => first.texts.length === 2)
  assert.deepEqual([first.texts[1]?.['kind'], first.texts[1]?.['mode']], ['notice', 'read'])
  assert.equal(taker.texts[0]?.['mode'], 'write')
  taker.socket.terminate()
  await until(() => {
    try {
      consoles.desk.issueSerial({ vmId: 'a', vmName: 'web1', mode: 'write' })
      return true
    } catch {
      return false
    }
  })

  first.socket.terminate()
})

test('the end of the VM closes its consoles with 1000 and the reason', async () => {
  await using consoles = await startConsoles()
  const console = consoles.open('read')
  await until(() => console.texts.length === 1)

  consoles.desk.vmEnded('a', 'the guest powered itself off')

  const [code, reason] = await once(console.socket, 'close')
  assert.deepEqual([code, String(reason)], [1000, 'the guest powered itself off'])
})

test('a display passes RFB bytes in both directions and ends with the VM', async () => {
  await using consoles = await startConsoles()
  const { ticket } = consoles.desk.issueVnc({ vmId: 'a', vmName: 'web1' })
  const display = listen(consoles.api.openSocket(`/v1/streams/vnc?ticket=${ticket}`))
  await until(() => display.output === 'RFB 003.008\n')

  display.socket.send(Buffer.from('RFB 003.008\n'))
  consoles.guest.dies({ code: undefined, signal: 'SIGKILL' })

  const [code] = await once(display.socket, 'close')
  assert.equal(code, 1000)
  const again = consoles.api.openSocket(`/v1/streams/vnc?ticket=${ticket}`)
  again.on('error', () => {})
  const [, response] = await once(again, 'unexpected-response')
  assert.equal(response.statusCode, 403)
  again.terminate()
})
