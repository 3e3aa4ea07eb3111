import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConsoleScrollback } from './console-scrollback.ts'

function shown(scrollback: string, pieces: readonly string[]): string {
  const filter = new ConsoleScrollback()
  filter.noteText(
    JSON.stringify({ kind: 'hello', mode: 'write', scrollbackBytes: Buffer.byteLength(scrollback) }),
  )
  return Buffer.concat(pieces.map((piece) => filter.show(Buffer.from(piece)))).toString()
}

test('questions to a terminal that is gone are not asked again, those of now are', () => {
  const old = 'a\x1b[6nb\x1b[cc\x1b[>0cd\x1b]11;?\x07e\x1bP+q544e\x1b\\f\x1bZg'

  assert.equal(shown(old, [`${old}# \x1b[6n`]), 'abcdefg# \x1b[6n')
})

test('colours, titles and letters of any language stay', () => {
  const old = '\x1b[1;31mrot\x1b[0m \x1b]0;title\x07 \x1b[2J größer\r\n'

  assert.equal(shown(old, [old]), old)
})

test('a question that arrives in pieces is still found', () => {
  assert.equal(shown('x\x1b[6ny', ['x\x1b', '[6', 'ny', '\x1b[6n']), 'xy\x1b[6n')
})

test('without a hello everything passes', () => {
  const filter = new ConsoleScrollback()
  filter.noteText('no JSON')

  assert.equal(Buffer.from(filter.show(Buffer.from('\x1b[6n'))).toString(), '\x1b[6n')
})
