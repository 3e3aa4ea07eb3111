import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PageWalks } from './page-walks.ts'

test('two walks go on at one time, and the others follow in their order', async () => {
  const walks = new PageWalks()
  const begun: number[] = []
  const ends: (() => void)[] = []
  const all = [0, 1, 2, 3].map((number) =>
    walks.run(() => {
      begun.push(number)
      return new Promise<number>((resolve) => ends.push(() => resolve(number)))
    }),
  )

  assert.deepEqual(begun, [0, 1])
  ends[1]?.()
  assert.equal(await all[1], 1)
  assert.deepEqual(begun, [0, 1, 2])
  ends[0]?.()
  ends[2]?.()
  await all[2]
  ends[3]?.()

  assert.deepEqual(await Promise.all(all), [0, 1, 2, 3])
})

test('a walk that does not end keeps its place, and nobody waits for it', async () => {
  const walks = new PageWalks({ longestMs: 20 })
  const never = () => new Promise<string>(() => {})
  const stuck = [walks.run(never), walks.run(never)]

  const waiting = walks.run(async () => 'walked')

  assert.deepEqual(await Promise.all([...stuck, waiting]), [undefined, undefined, undefined])
})

test('a walk that fails gives its place back, and of too many the last are left out at once', async () => {
  const walks = new PageWalks()
  const ends: (() => void)[] = []
  const hold = () => new Promise<void>((resolve) => ends.push(resolve))
  await assert.rejects(
    walks.run(() => Promise.reject(new Error('gone'))),
    /gone/,
  )
  const held = [walks.run(hold), walks.run(hold)]
  const waiting = Array.from({ length: 64 }, () => walks.run(async () => 'walked'))

  assert.equal(await walks.run(async () => 'too many'), undefined)

  for (const end of ends) end()
  await Promise.all(held)
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set(['walked']))
})
