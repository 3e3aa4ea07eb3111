import assert from 'node:assert/strict'
import { test } from 'node:test'
import { guestList, guestText } from './guest-words.ts'

test('a name that would steer a terminal is shown and steers nothing', () => {
  assert.equal(guestText('web1\u001b]52;c;cm0gLXJm\u0007'), 'web1�]52;c;cm0gLXJm�')
  assert.equal(guestText('a\u009b31mb\u202ec\nd'), 'a�31mb�c�d')
})

test('names in any script stay what they are', () => {
  assert.equal(guestText('Žluťoučký kůň 服务器'), 'Žluťoučký kůň 服务器')
})

test('what is too long is cut', () => {
  assert.equal(guestText('x'.repeat(1_000_000)).length, 255)
  assert.equal(guestList(Array.from({ length: 10_000 })).length, 64)
})
