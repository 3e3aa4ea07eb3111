import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Command } from './command.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { UsageError } from './usage-error.ts'

const command: Command = {
  summary: 'A command.',
  arguments: [{ name: 'NAME' }, { name: 'OTHER', optional: true }],
  flags: {
    size: { summary: 'A size.', value: 'SIZE', short: 's' },
    disk: { summary: 'A disk.', value: 'DISK', multiple: true },
    start: { summary: 'A switch.' },
  },
  load: async () => async () => undefined,
}

function parse(...words: string[]) {
  const line = parseCommandLine(words, command, 'test')
  return { ...Object.fromEntries(line.arguments), flags: Object.fromEntries(line.flags) }
}

test('flags stand anywhere, with = or a space, long or short', () => {
  const expected = { NAME: 'web1', flags: { size: ['2G'], start: ['true'] } }
  assert.deepEqual(parse('--size=2G', 'web1', '--start'), expected)
  assert.deepEqual(parse('web1', '--start', '--size', '2G'), expected)
  assert.deepEqual(parse('-s', '2G', '--start', 'web1'), expected)
  assert.deepEqual(parse('-s2G', '--start', 'web1'), expected)
})

test('values may begin with a dash or hold =; what is repeatable keeps its order', () => {
  assert.deepEqual(parse('a', '--size', '-5').flags, { size: ['-5'] })
  assert.deepEqual(parse('a', '--disk=size=1G,bus=x', '--disk', 'size=2G').flags, {
    disk: ['size=1G,bus=x', 'size=2G'],
  })
})

test('after -- everything is an argument', () => {
  assert.deepEqual(parse('--', '--start', '-x'), { NAME: '--start', OTHER: '-x', flags: {} })
})

test('what cannot be meant is refused', () => {
  for (const words of [
    [],
    ['a', 'b', 'c'],
    ['a', '--size'],
    ['a', '--start=yes'],
    ['a', '--size', '1', '-s', '2'],
    ['a', '-x'],
    ['a', '--nothing'],
  ]) {
    assert.throws(() => parse(...words), UsageError, words.join(' '))
  }
})

test('help is understood without the arguments that are missing', () => {
  assert.deepEqual(parse('--help').flags, { help: ['true'] })
})

test('no words make it throw anything but a usage error', () => {
  const words = fc.array(
    fc.oneof(fc.string(), fc.constantFrom('--', '-', '--size', '-s', '--disk=', '--__proto__', '--help')),
  )
  fc.assert(
    fc.property(words, (line) => {
      try {
        parse(...line)
      } catch (error) {
        assert.ok(error instanceof UsageError, String(error))
      }
    }),
  )
})
