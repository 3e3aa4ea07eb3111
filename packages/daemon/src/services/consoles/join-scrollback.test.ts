import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { joinScrollback } from './join-scrollback.ts'
import { RecentBytes } from './recent-bytes.ts'

const join = (log: string, live: string) =>
  Buffer.from(joinScrollback(Buffer.from(log), Buffer.from(live))).toString()

for (const [what, log, live, joined] of [
  ['nothing at all', '', '', ''],
  ['a log and nothing live', 'boot\nlogin: ', '', 'boot\nlogin: '],
  ['live bytes that the log does not hold yet', 'boot\n', 'login: ', 'boot\nlogin: '],
  ['a log that holds a part of what came live', 'boot\nlog', 'login: ', 'boot\nlogin: '],
  ['a log that holds all that came live', 'boot\nlogin: ', 'login: ', 'boot\nlogin: '],
  ['live bytes that began before the log', 'in: root', 'login: root\n', 'in: rootlogin: root\n'],
  ['a false beginning', 'aab', 'aaba', 'aaba'],
] as const)
  test(`scrollback joins ${what}`, () => {
    assert.equal(join(log, live), joined)
  })

test('wherever the log ends in the live bytes, the stream is whole', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.nat(),
      fc.nat(),
      (random, connectedAt, loggedTo) => {
        // Numbered bytes, so that every place is one of a kind.
        const stream = Uint8Array.from(random.keys().map((index) => index % 251))
        const begin = connectedAt % (stream.length + 1)
        const end = begin + (loggedTo % (stream.length - begin + 1))
        if (stream.length > 250) return
        assert.deepEqual(
          Buffer.from(joinScrollback(stream.subarray(0, end), stream.subarray(begin))),
          Buffer.from(stream),
        )
      },
    ),
  )
})

test('joining the largest scrollback with itself takes milliseconds, repetitive as it may be', () => {
  const same = new Uint8Array(64 * 1024).fill(0x79)
  const begun = process.cpuUsage() // Its own time: others may use the CPU meanwhile.

  assert.equal(joinScrollback(same, same).length, same.length)

  assert.ok(process.cpuUsage(begun).user < 200_000)
})

test('recent bytes keep the last ones, whatever the size of chunks', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (chunks) => {
      const recent = new RecentBytes(16)
      for (const chunk of chunks) recent.push(chunk)
      const all = Buffer.concat(chunks)
      assert.deepEqual(Buffer.from(recent.read()), all.subarray(Math.max(0, all.length - 16)))
    }),
  )
})
