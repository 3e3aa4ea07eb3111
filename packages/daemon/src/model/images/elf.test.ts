import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { readElfNeeds } from './elf.ts'

test('a program of this machine needs the C library and a loader', () => {
  const needs = readElfNeeds(readFileSync('/bin/sh'))

  assert.ok(needs?.libraries.includes('libc.so.6'))
  assert.match(needs?.interpreter ?? '', /^\/lib.*\/ld-linux/)
})

test('what is no ELF file has no needs, and a broken one makes nothing throw', () => {
  const program = readFileSync('/bin/sh')

  assert.equal(readElfNeeds(Buffer.from('#!/bin/sh\n'.padEnd(100))), undefined)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(4096), fc.nat(255)), { maxLength: 20 }),
      fc.nat(8192),
      (changes, length) => {
        const broken = Buffer.from(program.subarray(0, length))
        for (const [at, value] of changes) if (at < broken.length) broken[at] = value
        readElfNeeds(broken)
      },
    ),
    { numRuns: fuzzRuns(150) },
  )
})
