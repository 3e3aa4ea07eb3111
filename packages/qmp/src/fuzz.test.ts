/**
 * What a hostile or broken QEMU may send: mutated message streams against the client.
 *
 * Whatever comes, each command settles, the process lives, and only our own error classes are thrown.
 * `KVASIR_FUZZ_RUNS` and `KVASIR_FUZZ_SEED` make it long or repeat it.
 */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { fuzzRuns } from '../../../tools/fuzz-runs.ts'
import { QmpClient } from './client.ts'
import { QmpBusyError, QmpClosedError, QmpError, QmpProtocolError, QmpTimeoutError } from './errors.ts'
import { GuestAgentClient } from './guest-agent.ts'
import {
  eventLine,
  type FakeCommand,
  greeting,
  listenFakePeer,
  onCommands,
  reply,
} from './testing/fake-peer.ts'

const runs = {
  numRuns: fuzzRuns(60),
  seed: Number(process.env['KVASIR_FUZZ_SEED'] ?? 20_261_121),
}
const knownErrors = [QmpBusyError, QmpClosedError, QmpError, QmpProtocolError, QmpTimeoutError]

/** A change to a byte stream; positions are fractions of its length. */
const mutation = fc.oneof(
  fc.record({
    kind: fc.constant('flip' as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    byte: fc.nat(255),
  }),
  fc.record({
    kind: fc.constant('cut' as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat(40),
  }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    text: fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.constantFrom(
        '\n',
        '\r\n',
        '\xff',
        '{',
        '[[[[',
        '"',
        '\\',
        '\0',
        '{"return":{}}\n',
        '{"event":1}\n',
        '{"QMP":[]}\n',
      ),
      fc.nat(2000).map((depth) => '['.repeat(depth)),
    ),
  }),
  fc.record({
    kind: fc.constant('repeat' as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat(200),
  }),
)
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never

function mutate(stream: Buffer, change: Mutation): Buffer {
  const at = Math.floor(change.at * stream.length)
  const [before, after] = [stream.subarray(0, at), stream.subarray(at)]
  switch (change.kind) {
    case 'flip':
      return Buffer.concat([before, Buffer.of(change.byte), after.subarray(1)])
    case 'cut':
      return Buffer.concat([before, after.subarray(change.length)])
    case 'insert':
      return Buffer.concat([before, Buffer.from(change.text, 'latin1'), after])
    case 'repeat':
      return Buffer.concat([before, after.subarray(0, change.length), after])
  }
}

async function writeInPieces(socket: Socket, stream: Buffer, pieceBytes: number): Promise<void> {
  for (let start = 0; start < stream.length && socket.writable; start += pieceBytes) {
    socket.write(stream.subarray(start, start + pieceBytes))
    await new Promise(setImmediate)
  }
}

function assertOnlyKnownErrors(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') continue
    assert.ok(
      knownErrors.some((known) => outcome.reason instanceof known),
      `unexpected ${String(outcome.reason)}`,
    )
  }
}

const plan = fc.record({
  mutations: fc.array(mutation, { maxLength: 4 }),
  pieceBytes: fc.integer({ min: 20, max: 4000 }),
  isGreetingMutated: fc.boolean(),
})

test('Mutated streams from a monitor settle every command with a known outcome', async () => {
  const property = fc.asyncProperty(plan, async ({ mutations, pieceBytes, isGreetingMutated }) => {
    const damage = (stream: Buffer): Buffer => mutations.reduce(mutate, stream)
    await using peer = await listenFakePeer((socket) => {
      socket.write(isGreetingMutated ? damage(Buffer.from(greeting)) : greeting)
      const asked: FakeCommand[] = []
      onCommands(socket, (command) => {
        if (command.execute === 'qmp_capabilities') return void socket.write(reply(command, {}))
        asked.push(command)
        if (asked.length < 3) return
        const answers = asked.map(
          (one) => `${eventLine('STOP')}${reply(one, { status: 'running', list: [1, { a: 'é' }] })}`,
        )
        void writeInPieces(socket, damage(Buffer.from(answers.join(''))), pieceBytes)
      })
    })
    let client: QmpClient | undefined
    const connecting = QmpClient.connect({ path: peer.path, greetingTimeoutMs: 15 }).then((made) => {
      client = made
    })
    assertOnlyKnownErrors(await Promise.allSettled([connecting]))
    if (client === undefined) return

    const limits = { timeoutMs: 15 }
    assertOnlyKnownErrors(
      await Promise.allSettled([
        client.execute('query-status', {}, limits),
        client.execute('query-name', {}, limits),
        client.execute('query-block', {}, limits),
      ]),
    )
    client.close()
    await client.closed
  })
  await fc.assert(property, { ...runs, interruptAfterTimeLimit: 60_000 })
})

test('After a mutated stream from a guest the next command is answered, or the channel is closed', async () => {
  const property = fc.asyncProperty(plan, async ({ mutations, pieceBytes }) => {
    let isHonest = true
    let writing = Promise.resolve()
    await using peer = await listenFakePeer((socket) => {
      onCommands(socket, (command) => {
        const isSync = command.execute === 'guest-sync-delimited'
        const value = isSync ? command.arguments?.['id'] : { 'host-name': 'guest' }
        const answer = Buffer.concat([
          Buffer.of(...(isSync ? [0xff] : [])),
          Buffer.from(`${JSON.stringify({ return: value })}\n`),
        ])
        writing = writeInPieces(socket, isHonest ? answer : mutations.reduce(mutate, answer), pieceBytes)
      })
    })
    using client = await GuestAgentClient.connect({ path: peer.path })

    isHonest = false
    assertOnlyKnownErrors(
      await Promise.allSettled([client.execute('guest-get-host-name', undefined, { timeoutMs: 15 })]),
    )
    isHonest = true
    await writing
    await delay(2)

    if (client.closeReason !== undefined) return
    assert.deepEqual(await client.execute('guest-get-host-name'), { 'host-name': 'guest' })
  })
  await fc.assert(property, {
    ...runs,
    numRuns: Math.ceil(runs.numRuns / 2),
    interruptAfterTimeLimit: 60_000,
  })
})
