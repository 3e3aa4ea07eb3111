import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Duplex, duplexPair } from 'node:stream'
import { test } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { SimulatedClock } from '../../simulated/simulated-clock.ts'
import { createConsoleDesk } from './console-desk.ts'
import { type ConsoleSession, consoleLimits } from './console-hub.ts'
import type { ConsoleMode } from './tickets.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

/** A guest's console: what it prints goes to the log and to whoever is connected, as QEMU does it. */
function newConsole() {
  const clock = new SimulatedClock()
  const state = { connection: undefined as Duplex | undefined, opened: 0, log: Buffer.alloc(0), typed: '' }
  let open = async (): Promise<Duplex> => {
    state.opened++
    const [ours, theirs] = duplexPair()
    ours.on('data', (chunk: Buffer) => {
      state.typed += chunk.toString()
    })
    ours.on('end', () => ours.destroy())
    state.connection = ours
    return theirs
  }
  const desk = createConsoleDesk({
    openSerial: () => open(),
    openVnc: () => Promise.reject(new KvasirError('unsupported', 'VM web1 has no display.')),
    openSpice: () => Promise.reject(new KvasirError('unsupported', 'VM web1 has no SPICE.')),
    readScrollback: async (_vmId, bytes) => state.log.subarray(-bytes),
    clock,
    log: silent,
  })
  return {
    desk,
    clock,
    state,
    refuseToOpen: (error: Error) => {
      open = () => Promise.reject(error)
    },
    print(text: string) {
      state.connection?.write(text)
      state.log = Buffer.concat([state.log, Buffer.from(text)])
    },
    join: (mode: ConsoleMode) =>
      desk.joinSerial(desk.issueSerial({ vmId: 'a', vmName: 'web1', mode }).ticket),
  }
}

/** Watches and notes everything. */
function watch(session: ConsoleSession) {
  const seen = {
    text: Buffer.from(session.scrollback).toString(),
    notices: [] as string[],
    ended: '',
    unread: 0,
  }
  session.watch({
    output: (bytes) => {
      seen.text += Buffer.from(bytes).toString()
    },
    unreadBytes: () => seen.unread,
    notice: (text, mode) => seen.notices.push(`${mode}: ${text}`),
    end: (why, reason) => {
      seen.ended = `${why}: ${reason}`
    },
  })
  return seen
}

function refused(code: ErrorCode) {
  return (error: unknown) => error instanceof KvasirError && error.code === code
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 5))

test('a viewer sees what was said before and after it came, each byte once', async () => {
  const console = newConsole()
  console.print('boot\n')
  const first = watch(await console.join('read'))
  console.print('login: ')
  await settle()

  const second = watch(await console.join('read'))
  console.print('root\n')
  await settle()

  assert.equal(first.text, 'boot\nlogin: root\n')
  assert.equal(second.text, 'boot\nlogin: root\n')
  assert.equal(console.state.opened, 1)
})

test('viewers who come while the guest talks see every byte once', async () => {
  const console = newConsole()
  let number = 0
  const talk = setInterval(() => console.print(`line ${number++}\n`), 1)
  const viewers = []
  for (let count = 0; count < 10; count++) {
    viewers.push(watch(await console.join('read')))
    await settle()
  }
  clearInterval(talk)
  await settle()

  const said = console.state.log.toString()
  for (const { text } of viewers) assert.equal(text, said)
})

test('one writes, others read, and a second writer is refused at the ticket and at the door', async () => {
  const console = newConsole()
  const early = console.desk.issueSerial({ vmId: 'a', vmName: 'web1', mode: 'write' })
  const writer = await console.join('write')
  const reader = await console.join('read')
  watch(writer)
  watch(reader)

  assert.throws(
    () => console.desk.issueSerial({ vmId: 'a', vmName: 'web1', mode: 'write' }),
    refused('console-taken'),
  )
  await assert.rejects(console.desk.joinSerial(early.ticket), refused('console-taken'))
  assert.equal(writer.write(Buffer.from('ls\r')), true)
  assert.equal(reader.write(Buffer.from('rm -rf /\r')), false)
  await settle()

  assert.equal(console.state.typed, 'ls\r')
})

test('of two who come at once to write, one is refused', async () => {
  const console = newConsole()
  const tickets = [1, 2].map(() => console.desk.issueSerial({ vmId: 'a', vmName: 'web1', mode: 'write' }))

  const joined = await Promise.allSettled(tickets.map(({ ticket }) => console.desk.joinSerial(ticket)))

  assert.deepEqual(joined.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
})

test('who takes over writes, and the former writer is told and reads on', async () => {
  const console = newConsole()
  const former = await console.join('write')
  const seen = watch(former)

  const taker = await console.join('take-over')
  watch(taker)

  assert.deepEqual([former.mode, taker.mode], ['read', 'write'])
  assert.match(seen.notices.join(), /^read: Somebody else took over/)
  assert.equal(former.write(Buffer.from('x')), false)
  console.print('hello')
  await settle()
  assert.equal(seen.text, 'hello')
})

test('a writer who leaves frees the console', async () => {
  const console = newConsole()
  const writer = await console.join('write')
  watch(writer)
  writer.leave()
  writer.leave()

  watch(await console.join('write'))

  assert.equal(writer.write(Buffer.from('x')), false)
})

test('a slow viewer is dropped, and neither the guest nor the others wait', async () => {
  const console = newConsole()
  const slow = watch(await console.join('write'))
  const other = watch(await console.join('read'))
  slow.unread = consoleLimits.unreadBytes + 1

  console.print('hello')
  await settle()

  assert.match(slow.ended, /^too-slow/)
  assert.equal(other.text, 'hello')
  watch(await console.join('write'))
})

test('input for a guest that does not read is bounded', async () => {
  const console = newConsole()
  const writer = await console.join('write')
  watch(writer)
  console.state.connection?.pause()

  let taken = 0
  while (taken < 100 && writer.write(Buffer.alloc(16 * 1024))) taken++

  assert.ok(taken >= 4 && taken < 20, String(taken))
})

test('the connection is let go a moment after the last viewer, and made anew for the next', async () => {
  const console = newConsole()
  const first = await console.join('read')
  watch(first)
  const closed = once(console.state.connection as Duplex, 'close') // Made by the join.
  first.leave()
  await console.clock.advance(consoleLimits.lingerMs - 1)
  const second = await console.join('read')
  assert.equal(console.state.opened, 1)
  watch(second)
  second.leave()
  await console.clock.advance(consoleLimits.lingerMs)
  await closed

  watch(await console.join('read'))

  assert.equal(console.state.opened, 2)
})

test('a broken connection is made again while somebody watches, and they are told', async () => {
  const console = newConsole()
  const session = await console.join('write')
  const seen = watch(session)

  console.state.connection?.destroy()
  await settle()
  assert.equal(session.write(Buffer.from('lost')), false)
  await console.clock.advance(1_000)
  console.print('back')
  await settle()

  assert.equal(console.state.opened, 2)
  assert.match(seen.notices.join(), /connected again/)
  assert.equal(seen.text, 'back')
  assert.equal(session.write(Buffer.from('x')), true)
})

test('when the VM is found off, viewers are told why and the console is over', async () => {
  const console = newConsole()
  const seen = watch(await console.join('write'))
  console.refuseToOpen(new KvasirError('wrong-state', 'VM web1 is shutoff, so it has no console.'))

  console.state.connection?.destroy()
  await settle()
  await console.clock.advance(1_000)

  assert.equal(seen.ended, 'ended: VM web1 is shutoff, so it has no console')
  await assert.rejects(console.join('write'), refused('wrong-state'))
})

test('a console that closes a moment before its VM is off ends with the reason of that', async () => {
  const console = newConsole()
  const seen = watch(await console.join('write'))
  const details = { state: 'running', action: 'console' }
  console.refuseToOpen(
    new KvasirError('wrong-state', 'VM web1 is running, so it has no console.', { details }),
  )

  console.state.connection?.destroy()
  await settle()
  await console.clock.advance(1_000)
  console.desk.vmEnded('a', 'it was powered off')

  assert.equal(seen.ended, 'ended: it was powered off')
})

test('the end of a VM ends its console, and the next run has a new one', async () => {
  const console = newConsole()
  const seen = watch(await console.join('write'))

  console.desk.vmEnded('a', 'the guest powered itself off')
  console.desk.vmEnded('a', 'again')

  assert.equal(seen.ended, 'ended: the guest powered itself off')
  watch(await console.join('write'))
  assert.equal(console.state.opened, 2)
})

test('a viewer too many is refused', async () => {
  const console = newConsole()
  for (let count = 0; count < consoleLimits.viewers; count++) watch(await console.join('read'))

  await assert.rejects(console.join('read'), refused('too-many-requests'))
})

test('a ticket whose VM cannot be reached is spent and leaves nothing behind', async () => {
  const console = newConsole()
  console.refuseToOpen(new KvasirError('wrong-state', 'VM web1 is shutoff, so it has no console.'))

  await assert.rejects(console.join('write'), refused('wrong-state'))
  await assert.rejects(console.join('write'), refused('wrong-state'))

  assert.equal(console.clock.sleeping, 0)
})
