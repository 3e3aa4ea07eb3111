import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { KvasirError } from '@kvasir/contract'
import { createLog, type LogForm, type LogLevel } from './log.ts'

function collect(form: LogForm, level: LogLevel = 'info') {
  const lines: string[] = []
  return { lines, log: createLog({ form, level, write: (line) => lines.push(line) }) }
}

test('for journald a line begins with its priority', () => {
  const { lines, log } = collect('journal')

  log.debug({}, 'unseen')
  log.info({ vm: 'web1', note: 'two words' }, 'VM started')
  log.warn({}, 'careful')
  log.error({}, 'bad')

  assert.deepEqual(lines, ['<6>VM started vm=web1 note="two words"\n', '<4>careful\n', '<3>bad\n'])
})

test('for a program a line is JSON with level, time and fields', () => {
  const { lines, log } = collect('json', 'debug')

  log.debug({ vm: 'web1' }, 'looked')

  const line: unknown = JSON.parse(lines[0] ?? '')
  assert.partialDeepStrictEqual(line, { level: 'debug', vm: 'web1', msg: 'looked' })
})

test('for a terminal a line is short', () => {
  const { lines, log } = collect('terminal')

  log.warn({ vm: 'web1' }, 'VM crashed')

  assert.match(stripVTControlCharacters(lines[0] ?? ''), /^\d\d:\d\d:\d\d warn {2}VM crashed vm=web1\n$/)
})

test('an error is written with its code and its causes', () => {
  const { lines, log } = collect('json')
  const error = new KvasirError('host-failed', 'It broke.', { cause: new Error('deeper') })

  log.error({ error }, 'failed')

  assert.partialDeepStrictEqual(JSON.parse(lines[0] ?? ''), {
    error: { code: 'host-failed', message: 'It broke.', cause: { type: 'Error', message: 'deeper' } },
  })
})

test('text from outside begins no line of its own and moves no cursor', () => {
  for (const form of ['journal', 'json'] as const) {
    const { lines, log } = collect(form)

    log.info({ guest: 'a\n<0>b\u001b[2J\u009b' }, 'said\n<0>forged')

    assert.equal(lines.join('').split('\n').length, 2, form)
    assert.equal(lines.join('').includes('\u001b'), false, form)
  }
})
