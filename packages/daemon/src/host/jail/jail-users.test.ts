import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { divideUids, JailUsers } from './jail-users.ts'

const signal = new AbortController().signal

test('the last uids are for tools, and no VM is given one of them', () => {
  assert.deepEqual(divideUids({ first: 1000, count: 1000 }), {
    vms: { first: 1000, count: 992 },
    jails: { first: 1992, count: 8 },
  })
  assert.deepEqual(divideUids({ first: 1000, count: 10 }).jails, { first: 1009, count: 1 })
})

test('no user is given to two runs, and who waits is served in order', async () => {
  const users = new JailUsers({ first: 500, count: 2 })
  const a = await users.take(signal)
  const b = await users.take(signal)
  const order: string[] = []
  const takeAs = async (name: string) => {
    const user = await users.take(signal)
    order.push(name)
    return user
  }
  const c = takeAs('c')
  const d = takeAs('d')
  assert.notEqual(a.uid, b.uid)

  users.giveBack(b)
  assert.deepEqual(await c, b)
  users.giveBack(a)

  assert.deepEqual(await d, a)
  assert.deepEqual(order, ['c', 'd'])
})

test('who gives up waiting is passed over', async () => {
  const users = new JailUsers({ first: 500, count: 1 })
  const held = await users.take(signal)
  const aborter = new AbortController()
  const given = users.take(aborter.signal)
  const patient = users.take(signal)

  aborter.abort(new Error('enough'))
  users.giveBack(held)

  await assert.rejects(given, /enough/)
  assert.deepEqual(await patient, held)
})

test('more than can wait are refused', async () => {
  const users = new JailUsers({ first: 500, count: 1 })
  await users.take(signal)
  const aborter = new AbortController()
  const waiting = Array.from({ length: 256 }, () => users.take(aborter.signal))

  await assert.rejects(users.take(signal), (error) => error instanceof KvasirError && error.code === 'busy')

  aborter.abort(new Error('enough'))
  await Promise.allSettled(waiting)
})
