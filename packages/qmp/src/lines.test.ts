import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QmpProtocolError } from './errors.ts'
import { LineSplitter } from './lines.ts'

function split(splitter: LineSplitter, ...chunks: readonly string[]): string[] {
  return chunks.flatMap((chunk) => [...splitter.push(Buffer.from(chunk))].map((line) => line.toString()))
}

test('Lines come out whole, however the bytes are cut', () => {
  const text = '{"a":1}\r\n{"bé":2}\n\r\n\n{"c":3}\r\n'
  for (let size = 1; size <= Buffer.byteLength(text); size++) {
    const splitter = new LineSplitter(100)
    const bytes = Buffer.from(text)
    const lines: string[] = []
    for (let i = 0; i < bytes.length; i += size) {
      for (const line of splitter.push(bytes.subarray(i, i + size))) lines.push(line.toString())
    }

    assert.deepEqual(
      lines.filter((line) => line !== ''),
      ['{"a":1}', '{"bé":2}', '{"c":3}'],
    )
    assert.equal(splitter.heldBytes, 0)
  }
})

test('A line of exactly the bound passes, one byte more is refused before its end has come', () => {
  const splitter = new LineSplitter(8)
  assert.deepEqual(split(splitter, '1234567', '8\n', '12345678\n'), ['12345678', '12345678'])

  assert.throws(() => split(splitter, '12345678', '9'), QmpProtocolError)
  assert.throws(() => split(new LineSplitter(8), '123456789\n'), QmpProtocolError)
})

test('An endless line in tiny pieces keeps no more than the bound', () => {
  const splitter = new LineSplitter(64 * 1024)
  const piece = Buffer.from('x')

  assert.throws(() => {
    for (let i = 0; i < 1_000_000; i++) {
      for (const _ of splitter.push(piece)) assert.fail('no line ends here')
      assert.ok(splitter.heldBytes <= 64 * 1024)
    }
  }, QmpProtocolError)
  assert.equal(splitter.heldBytes, 0)
})
