import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { loginRequest, parseCapacity, parseLogin, parseLuns, stages, takeAnswer } from './pdu.ts'

const counters = { task: 1, command: 1, status: 0 }

test('a login names its keys, and is padded to whole words', () => {
  const isid = Buffer.from([0x80, 1, 2, 3, 4, 5])
  const asked = { ...counters, isid, stage: stages.security, next: stages.operational }
  const request = loginRequest([['TargetName', 'iqn.x']], asked)

  assert.equal(request.length % 4, 0)
  assert.equal(request[0], 0x43)
  assert.equal(request[1], 0x81)
  assert.equal(request.readUIntBE(5, 3), 'TargetName=iqn.x\0'.length)
  assert.deepEqual(request.subarray(8, 14), isid)
})

test('a message is taken when all of it is there, and not before', () => {
  const header = Buffer.alloc(48)
  header[0] = 0x23
  header.writeUIntBE(6, 5, 3)
  const whole = Buffer.concat([header, Buffer.from('A=1\0B='), Buffer.alloc(2), Buffer.from('next')])

  for (let length = 0; length < 56; length += 1)
    assert.equal(takeAnswer(whole.subarray(0, length)), undefined)
  const taken = takeAnswer(whole)

  assert.equal(taken?.bytes, 56)
  assert.deepEqual(taken && [...parseLogin(taken.answer).keys], [
    ['A', '1'],
    ['B', ''],
  ])
})

test('more data than was agreed is refused before it is waited for', () => {
  const header = Buffer.alloc(48)
  header.writeUIntBE(0xffffff, 5, 3)
  assert.throws(() => takeAnswer(header), RangeError)
})

test('LUNs are read in both ways of numbering, each once and in order', () => {
  const luns = Buffer.from(
    '0000000000000000' + '0002000000000000' + '4101000000000000' + '0002000000000000',
    'hex',
  )
  const head = Buffer.alloc(8)
  head.writeUInt32BE(luns.length)

  assert.deepEqual(parseLuns(Buffer.concat([head, luns])), [0, 2, 257])
  assert.deepEqual(parseLuns(Buffer.concat([head, luns]).subarray(0, 20)), [0])
  assert.deepEqual(parseLuns(Buffer.alloc(3)), [])
})

test('the size of a disk is its last block and one, in blocks', () => {
  const answer = Buffer.alloc(32)
  answer.writeBigUInt64BE(131_071n)
  answer.writeUInt32BE(512, 8)

  assert.equal(parseCapacity(answer), 64 * 2 ** 20)
  assert.equal(parseCapacity(Buffer.alloc(32, 0xff)), undefined)
  assert.equal(parseCapacity(Buffer.alloc(4)), undefined)
})

test('whatever a server sends is an answer, not there yet, or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const received = Buffer.from(bytes)
      try {
        const taken = takeAnswer(received)
        if (taken) {
          assert.ok(taken.bytes <= received.length && taken.bytes >= 48)
          parseLogin(taken.answer)
        }
      } catch (error) {
        assert.ok(error instanceof RangeError)
      }
      parseLuns(received)
      parseCapacity(received)
    }),
    { numRuns: fuzzRuns(500) },
  )
})
