import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { sampleVm, startApi } from './testing/running-api.ts'

test('a VM is answered as JSON with its revision as ETag', async () => {
  await using api = await startApi({ handlers: { getVm: async ({ params }) => sampleVm(params.name, 12) } })

  const answer = await api.send('/v1/vms/web1')

  assert.equal(answer.status, 200)
  assert.equal(answer.headers['etag'], '"12"')
  assert.equal(answer.headers['x-content-type-options'], 'nosniff')
  assert.deepEqual(answer.json, sampleVm('web1', 12))
})

test('a body is parsed with its defaults, and a create answers 201', async () => {
  let seen: unknown
  await using api = await startApi({
    handlers: {
      createVm: async ({ body, caller }) => {
        seen = { memory: body.spec.memory.size, start: body.start, caller: caller.name }
        return sampleVm(body.name)
      },
    },
  })

  const answer = await api.send('/v1/vms', {
    method: 'POST',
    body: { name: 'web1', spec: { memory: { size: '2GiB' } } },
  })

  assert.equal(answer.status, 201)
  assert.deepEqual(seen, { memory: 2 ** 31, start: false, caller: 'local' })
})

test('a body may be left out where the contract fills it in', async () => {
  let mode: string | undefined
  await using api = await startApi({
    handlers: {
      consoleTicket: async ({ body }) => {
        mode = body.mode
        return { ticket: 't', url: '/v1/streams/console', expiresAt: '2026-01-01T00:00:00.000Z' }
      },
    },
  })

  assert.equal((await api.send('/v1/vms/web1/console', { method: 'POST' })).status, 201)
  assert.equal(mode, 'write')
})

test('an answer of nothing is 204, of a job 202 with its place, of text and bytes with their types', async () => {
  const job = {
    id: '8f9d6d8e-3a51-4f9e-9d0c-3c8f0a1b2c3d',
    kind: 'vm.start',
    subject: { kind: 'vm', name: 'web1' },
    state: 'running',
    owner: 'local',
    step: 'starting',
    createdAt: '2026-01-01T00:00:00.000Z',
    deadlineAt: '2026-01-01T00:00:00.000Z',
  } as const
  await using api = await startApi({
    handlers: {
      deleteVm: async () => undefined,
      startVm: async () => job,
      logVm: async () => 'login: ',
      screenshotVm: async () => new Uint8Array([137, 80, 78, 71]),
    },
  })

  assert.equal((await api.send('/v1/vms/web1?disks=true', { method: 'DELETE' })).status, 204)
  const started = await api.send('/v1/vms/web1/start?wait=5', { method: 'POST', body: {} })
  assert.equal(started.status, 202)
  assert.equal(started.headers['location'], `/v1/jobs/${job.id}`)
  const log = await api.send('/v1/vms/web1/log?bytes=1KiB')
  assert.equal(log.headers['content-type'], 'text/plain; charset=utf-8')
  assert.equal(log.text, 'login: ')
  assert.equal((await api.send('/v1/vms/web1/screenshot')).headers['content-type'], 'image/png')
})

test('an answer that is not what the contract says is a defect in tests', async () => {
  await using api = await startApi({ handlers: { getVm: async () => ({ ...sampleVm('x'), extra: 1 }) } })

  assert.equal((await api.send('/v1/vms/x')).status, 500)
})

test('a refusal of a handler is a problem with its status, code and details', async () => {
  await using api = await startApi({
    handlers: {
      startVm: async () => {
        throw new KvasirError('wrong-state', 'VM web1 is paused, so it cannot be started.', {
          details: { state: 'paused' },
        })
      },
    },
  })

  const { status, json } = await api.send('/v1/vms/web1/start', { method: 'POST' })

  assert.equal(status, 409)
  assert.deepEqual(json, {
    type: 'https://kvasir.invalid/errors/wrong-state',
    title: 'The VM is in a state that does not allow this',
    status: 409,
    code: 'wrong-state',
    detail: 'VM web1 is paused, so it cannot be started.',
    details: { state: 'paused' },
  })
})

test('a defect tells the client an id and the log the stack', async () => {
  await using api = await startApi({
    handlers: {
      getVm: async () => {
        throw new TypeError('secret: hunter2')
      },
    },
  })

  const { status, text, json } = await api.send('/v1/vms/web1')

  assert.equal(status, 500)
  assert.ok(!text.includes('hunter2') && !text.includes('.ts:'))
  const { id } = (json as { details: { id: string } }).details
  const entry = api.logged.find(({ fields }) => fields['id'] === id)
  assert.ok(entry?.fields['err'] instanceof TypeError)
})

const ifMatches: readonly [header: string, seen: number | 'any' | undefined][] = [
  ['"12"', 12],
  ['*', 'any'],
  ['12', undefined],
  ['W/"12"', undefined],
  ['"12", "13"', undefined],
  ['"-1"', undefined],
  ['""', undefined],
]
for (const [header, wanted] of ifMatches)
  test(`If-Match: ${header} is ${wanted === undefined ? 'refused' : `understood as ${wanted}`}`, async () => {
    let seen: number | 'any' | undefined
    await using api = await startApi({
      handlers: {
        applyVm: async ({ ifMatch }) => {
          seen = ifMatch ?? 'any'
          return sampleVm('web1', 13)
        },
      },
    })

    const answer = await api.send('/v1/vms/web1', {
      method: 'PUT',
      body: { spec: {} },
      headers: { 'if-match': header },
    })

    assert.equal(answer.status, wanted === undefined ? 400 : 200)
    assert.equal(seen, wanted)
  })

test('If-Match and Idempotency-Key are refused where they would be ignored', async () => {
  await using api = await startApi()

  for (const headers of [{ 'if-match': '"1"' }, { 'idempotency-key': 'k' }]) {
    const { status } = await api.send('/v1/vms/web1/pause', { method: 'POST', headers })
    assert.equal(status, 400)
  }
})

test('a client that goes away aborts the signal of its request', async () => {
  const { promise: aborted, resolve } = Promise.withResolvers<void>()
  const { promise: entered, resolve: enter } = Promise.withResolvers<void>()
  await using api = await startApi({
    handlers: {
      getVm: ({ signal }) =>
        new Promise((_, reject) => {
          enter()
          signal.addEventListener('abort', () => {
            resolve()
            reject(signal.reason)
          })
        }),
    },
  })

  const controller = new AbortController()
  const http = await import('node:http')
  const request = http.get({ socketPath: api.address, path: '/v1/vms/web1', signal: controller.signal })
  request.on('error', () => {})
  await entered
  controller.abort()

  await aborted
})

test('a closing API refuses new requests and lets those under way end', async () => {
  const { promise: entered, resolve: enter } = Promise.withResolvers<void>()
  const { promise: mayEnd, resolve: letEnd } = Promise.withResolvers<void>()
  const api = await startApi({
    handlers: {
      getVm: async () => {
        enter()
        await mayEnd
        return sampleVm('web1')
      },
    },
  })

  const slow = api.send('/v1/vms/web1')
  await entered
  const closing = api.api.close({ graceMs: 5_000 })
  letEnd()

  assert.equal((await slow).status, 200)
  await closing
  await assert.rejects(api.send('/v1/vms/web1'))
})
