import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apiLimits } from './limits.ts'
import { startApi } from './testing/running-api.ts'

const problemType = 'application/problem+json; charset=utf-8'

test('every invalid field is named in one sentence, unknown keys too', async () => {
  await using api = await startApi()

  const { status, headers, json } = await api.send('/v1/vms', {
    method: 'POST',
    body: {
      name: '../etc',
      spec: { memory: { size: -5 }, cpu: { count: 1.5, sockets: 2 }, colour: 'red', machine: { type: 'pc' } },
      start: 'yes',
    },
  })

  assert.equal(status, 400)
  assert.equal(headers['content-type'], problemType)
  const { detail, code } = json as { detail: string; code: string }
  assert.equal(code, 'bad-request')
  for (const words of [
    'name is not a name',
    'spec.memory.size is not a size',
    'spec.cpu.count must be a whole number',
    'spec.cpu.sockets is not known',
    'spec.colour is not known',
    'spec.machine.type must be one of q35, microvm',
    'start must be a boolean, not a string',
  ])
    assert.ok(detail.includes(words), `${words} in: ${detail}`)
})

test('a missing body, a missing field and a body that is not taken are said', async () => {
  await using api = await startApi()
  const detailOf = async (path: string, body?: unknown) =>
    (await api.send(path, { method: 'POST', body })).json as { detail: string }

  assert.match((await detailOf('/v1/vms')).detail, /the body is missing/)
  assert.match((await detailOf('/v1/vms', { name: 'a' })).detail, /spec is missing/)
  assert.match((await detailOf('/v1/vms/a/pause', { hard: true })).detail, /the body must be absent/)
})

test('a thousand unknown keys make a short sentence', async () => {
  await using api = await startApi()
  const body = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`k${n}\n${'x'.repeat(200)}`, 1]))

  const { json } = await api.send('/v1/vms', { method: 'POST', body })

  const { detail } = json as { detail: string }
  assert.match(detail, /; and 990 more\.$/)
  assert.ok(detail.length < 2000 && !detail.includes('\n'))
})

const badPaths: readonly [path: string, status: number, words: RegExp][] = [
  ['/v1/vms/a%2Fb', 400, /path name is not a name/],
  ['/v1/vms/a%00b', 400, /path name is not a name/],
  [`/v1/vms/${'a'.repeat(10_000)}`, 400, /path name is not a name/],
  ['/v1/vms/%zz', 400, /not a valid URL path/],
  ['/v1/vms/%ff', 400, /not a valid URL path/],
  ['/v1/vms/web1?x=1', 400, /query x is not known/],
  ['/v1/vms/web1?__proto__=1', 400, /query __proto__ is not known/],
  ['/v1/events?after=-1', 400, /query after must be at least 0/],
  ['/v1/events?after=1e999', 400, /query after/],
  ['/v1/events?after=1&after=2', 400, /query after/],
  ['/v1/vms/web1/start', 404, /The path takes POST/],
  ['/v1/nothing', 404, /no endpoint GET \/v1\/nothing/],
  ['//v1/vms', 404, /no endpoint/],
  ['/v1/vms/../../etc/passwd', 404, /no endpoint/],
]
for (const [path, status, words] of badPaths)
  test(`GET ${path.slice(0, 40)} is refused with a sentence`, async () => {
    await using api = await startApi()

    const answer = await api.send(path)

    assert.equal(answer.status, status)
    assert.equal(answer.headers['content-type']?.startsWith('application/problem+json'), true)
    assert.match((answer.json as { detail: string }).detail, words)
  })

const badBodies: readonly [what: string, body: string, headers: Record<string, string>, code: string][] = [
  ['malformed JSON', '{"name":', {}, 'bad-request'],
  ['a lone brace', '}', {}, 'bad-request'],
  ['NUL bytes', '\0\0\0', {}, 'bad-request'],
  ['another media type', 'name=web1', { 'content-type': 'application/x-www-form-urlencoded' }, 'bad-request'],
  ['text that is JSON', '{}', { 'content-type': 'text/plain' }, 'bad-request'],
  ['a prototype key', '{"name":"a","spec":{"__proto__":{"x":1}}}', {}, 'bad-request'],
  ['an escaped prototype key', '{"name":"a","spec":{"\\u005f_proto__":{"x":1}}}', {}, 'bad-request'],
  ['deep nesting', `${'['.repeat(100_000)}`, {}, 'bad-request'],
  ['null', 'null', {}, 'bad-request'],
  ['a number', '7', {}, 'bad-request'],
  ['a huge size', '{"name":"a","spec":{"memory":{"size":1e300}}}', {}, 'bad-request'],
  ['a body over the limit', JSON.stringify('x'.repeat(apiLimits.bodyBytes)), {}, 'too-large'],
]
for (const [what, body, headers, code] of badBodies)
  test(`a body with ${what} is refused with ${code}`, async () => {
    await using api = await startApi()

    const answer = await api.send('/v1/vms', { method: 'POST', body, headers })

    assert.equal((answer.json as { code: string }).code, code)
    assert.equal(api.logged.filter(({ level }) => level === 'error').length, 0)
  })
