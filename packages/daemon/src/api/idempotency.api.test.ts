import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { apiLimits } from './limits.ts'
import { memoryAnswers, type RunningApi, sampleVm, startApi } from './testing/running-api.ts'

function create(api: RunningApi, key: string, body: unknown = { name: 'web1', spec: {} }) {
  return api.send('/v1/vms', { method: 'POST', body, headers: { 'idempotency-key': key } })
}

/** Handlers that count, and can be held up or made to refuse. */
function counting(work: () => Promise<void> = async () => {}) {
  let calls = 0
  return {
    calls: () => calls,
    handlers: {
      createVm: async ({ body }: { readonly body: { readonly name: string } }) => {
        calls++
        await work()
        return sampleVm(body.name, calls)
      },
    },
  }
}

test('a repeated create is answered as the first one was, and done once', async () => {
  const { calls, handlers } = counting()
  await using api = await startApi({ handlers })

  const first = await create(api, 'k1')
  const second = await create(api, 'k1')

  assert.equal(calls(), 1)
  assert.deepEqual([first.status, second.status], [201, 201])
  assert.equal(second.text, first.text)
  assert.equal(second.headers['etag'], first.headers['etag'])
  assert.equal(first.headers['idempotency-replayed'], undefined)
  assert.equal(second.headers['idempotency-replayed'], 'true')
})

test('the order of keys in a body does not make another request of it', async () => {
  const { calls, handlers } = counting()
  await using api = await startApi({ handlers })

  await create(api, 'k1', { name: 'web1', spec: { cpu: { count: 1 }, memory: { size: '1GiB' } } })
  const second = await create(api, 'k1', {
    spec: { memory: { size: '1GiB' }, cpu: { count: 1 } },
    name: 'web1',
  })

  assert.equal(second.status, 201)
  assert.equal(calls(), 1)
})

test('a key that was used for another request is refused', async () => {
  const { handlers } = counting()
  await using api = await startApi({
    handlers: { ...handlers, cloneVm: async () => Promise.reject(new Error('not reached')) },
  })
  await create(api, 'k1')

  const otherBody = await create(api, 'k1', { name: 'web2', spec: {} })
  const otherPath = await api.send('/v1/vms/web1/clone', {
    method: 'POST',
    body: { name: 'web1' },
    headers: { 'idempotency-key': 'k1' },
  })

  assert.deepEqual([otherBody.status, otherPath.status], [422, 422])
})

test('of twenty requests with one key at once, one is done and all get its answer', async () => {
  const { calls, handlers } = counting(() => new Promise((resolve) => setTimeout(resolve, 30)))
  await using api = await startApi({ handlers })

  const answers = await Promise.all(Array.from({ length: 20 }, () => create(api, 'k1')))

  assert.equal(calls(), 1)
  assert.equal(new Set(answers.map(({ text }) => text)).size, 1)
  assert.equal(answers.filter(({ headers }) => headers['idempotency-replayed'] === 'true').length, 19)
})

test('another request with a key that is under way is refused at once', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { handlers } = counting(() => promise)
  await using api = await startApi({ handlers })

  const first = create(api, 'k1')
  await new Promise((done) => setTimeout(done, 20))
  const other = await create(api, 'k1', { name: 'web2', spec: {} })
  resolve()

  assert.equal(other.status, 422)
  assert.equal((await first).status, 201)
})

test('a refusal is not kept: who waited for it tries for himself, one at a time', async () => {
  let attempts = 0
  let atOnce = 0
  let most = 0
  const { handlers } = counting(async () => {
    most = Math.max(most, ++atOnce)
    await new Promise((resolve) => setTimeout(resolve, 10))
    atOnce--
    if (++attempts < 3)
      throw new KvasirError('not-enough-space', 'The pool is full, so VM web1 was not made.')
  })
  await using api = await startApi({ handlers })

  const answers = await Promise.all(Array.from({ length: 5 }, () => create(api, 'k1')))

  assert.deepEqual(
    answers.map(({ status }) => status).sort((a, b) => a - b),
    [201, 201, 201, 507, 507],
  )
  assert.equal(attempts, 3)
  assert.equal(most, 1)
})

test('an answer that cannot be kept is given all the same', async () => {
  const { handlers } = counting()
  const idempotency = {
    ...memoryAnswers(),
    remember: () => {
      throw new KvasirError('store-unwritable', 'The store cannot be written.')
    },
  }
  await using api = await startApi({ handlers, idempotency })

  assert.equal((await create(api, 'k1')).status, 201)
  assert.deepEqual(
    api.logged.map(({ level }) => level),
    ['warn'],
  )
})

for (const key of ['', 'a b', 'ü', 'x'.repeat(apiLimits.idempotencyKeyLength + 1)])
  test(`the key ${JSON.stringify(key.slice(0, 10))} is refused`, async () => {
    const { calls, handlers } = counting()
    await using api = await startApi({ handlers })

    const { status } = await create(api, Buffer.from(key).toString('latin1'))

    assert.equal(status, 400)
    assert.equal(calls(), 0)
  })
