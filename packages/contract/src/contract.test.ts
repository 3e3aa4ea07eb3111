import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Endpoint, endpoints, errorTable, KvasirError, problem } from './index.ts'
import { openApiDocument } from './openapi.ts'
import { asObject } from './openapi-schemas.ts'
import { routes } from './routes.generated.ts'
import { isActionAllowed, vmActions, vmStates } from './vm-state.ts'

const openApi = openApiDocument()
const all: readonly (readonly [string, Endpoint])[] = Object.entries(endpoints)

test('endpoints have ids of their own, versioned paths, and parameters for what their paths name', () => {
  const places = new Set<string>()
  const document = asObject(openApi['paths'])
  for (const [key, endpoint] of all) {
    assert.equal(endpoint.id, key)
    assert.match(endpoint.path, /^\/v1\//)
    assert.equal(places.has(`${endpoint.method} ${endpoint.path}`), false)
    places.add(`${endpoint.method} ${endpoint.path}`)
    const names = [...endpoint.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
    const operation = asObject(asObject(document[endpoint.path])[endpoint.method.toLowerCase()])
    const parameters = Array.isArray(operation['parameters']) ? operation['parameters'].map(asObject) : []
    const inPath = parameters
      .filter((parameter) => parameter['in'] === 'path')
      .map((parameter) => parameter['name'])
    assert.deepEqual(inPath, names, key)
  }
})

test('what takes parameters, queries or bodies refuses unknown keys', () => {
  for (const [key, endpoint] of all) {
    assert.equal(endpoint.query.safeParse({ colour: 'red' }).success, false, `${key} query`)
    assert.equal(endpoint.body.safeParse({ colour: 'red' }).success, false, `${key} body`)
  }
})

/** What creates without a key: of a secret, not even the digest of a request is kept. */
const keyless = new Set(['createSecret'])

test('a GET changes nothing and takes no body; what creates takes an idempotency key', () => {
  for (const [key, endpoint] of all) {
    if (endpoint.method === 'GET') assert.equal(endpoint.body.safeParse(undefined).success, true, key)
    if (endpoint.status === 201 && endpoint.answer === 'json' && !key.endsWith('Ticket')) {
      assert.equal(endpoint.idempotent, !keyless.has(key), key)
    }
  }
})

test('the OpenAPI document resolves all its references and names its schemas', () => {
  const document = openApi
  const text = JSON.stringify(document)
  const components = asObject(document['components'])
  const schemas = asObject(components['schemas'])
  for (const name of [
    'Vm',
    'VmSpec',
    'VmSpecInput',
    'VmStatus',
    'Job',
    'Event',
    'Image',
    'Volume',
    'Host',
    'Problem',
    'CreateVm',
  ]) {
    assert.ok(name in schemas, name)
  }
  for (const match of text.matchAll(/"\$ref":"([^"]+)"/g)) {
    const [, section = '', name = ''] = /^#\/components\/(\w+)\/(\w+)$/.exec(match[1] ?? '') ?? []
    assert.ok(name in asObject(components[section]), match[0])
  }
  assert.doesNotMatch(text, /\$defs/)
  assert.equal(
    Object.keys(asObject(document['paths'])).length,
    new Set(all.map(([, endpoint]) => endpoint.path)).size,
  )
})

test('sizes are strings or numbers in requests and integers in answers', () => {
  const schemas = asObject(asObject(openApi['components'])['schemas'])
  const size = (name: string) => {
    const memory = asObject(asObject(asObject(schemas[name])['properties'])['memory'])
    return asObject(asObject(memory['properties'])['size'])
  }
  assert.equal(size('VmSpec')['type'], 'integer')
  assert.ok(Array.isArray(size('VmSpecInput')['anyOf']))
})

test('creates document their Idempotency-Key, changes their If-Match', () => {
  const paths = asObject(openApi['paths'])
  const headers = (path: string, method: string) => {
    const parameters = asObject(asObject(paths[path])[method])['parameters']
    return Array.isArray(parameters)
      ? parameters
          .map(asObject)
          .filter((it) => it['in'] === 'header')
          .map((it) => it['name'])
      : []
  }
  assert.deepEqual(headers('/v1/vms', 'post'), ['Idempotency-Key'])
  assert.deepEqual(headers('/v1/vms/{name}', 'put'), ['Idempotency-Key', 'If-Match'])
  assert.deepEqual(headers('/v1/vms/{name}', 'delete'), ['If-Match'])
})

test('the routes are the endpoints', () => {
  for (const [key, { id, method, path, answer, idempotent, ifMatch }] of all) {
    assert.deepEqual(routes[key as keyof typeof routes], { id, method, path, answer, idempotent, ifMatch }) // A key of the same table.
  }
  assert.equal(Object.keys(routes).length, all.length)
})

test('every error has an HTTP status of errors and an exit code of the CLI', () => {
  for (const [code, row] of Object.entries(errorTable)) {
    assert.ok(row.status >= 400 && row.status < 600, code)
    assert.ok(row.exit >= 1 && row.exit <= 5, code)
    assert.match(code, /^[a-z]+(-[a-z]+)*$/)
    if (row.status === 404) assert.ok(row.exit === 3 || code === 'unknown-endpoint', code)
  }
})

test('an error survives its problem document', () => {
  const error = new KvasirError('busy', 'VM a is being started, so it cannot be deleted.', {
    details: { job: '1' },
    cause: new Error('x'),
  })
  const document = problem.parse(JSON.parse(JSON.stringify(error.toProblem())))
  assert.equal(document.status, 409)
  assert.equal('cause' in document, false)
  const again = KvasirError.fromProblem(document)
  assert.deepEqual([again.code, again.message, again.details], [error.code, error.message, error.details])
})

test('nothing is started from a state in which an emulator might run', () => {
  for (const state of ['starting', 'running', 'paused', 'stopping', 'unknown'] as const) {
    assert.equal(isActionAllowed('start', state), false, state)
    assert.equal(isActionAllowed('delete', state), false, state)
  }
})

test('every state but the passing ones offers an action, and every action names real states', () => {
  for (const state of vmStates) {
    const offered = Object.keys(vmActions).filter((action) =>
      isActionAllowed(action as keyof typeof vmActions, state),
    ) // Keys of the table.
    assert.ok(offered.length > 0, state)
  }
  for (const [action, states] of Object.entries(vmActions)) {
    for (const state of states)
      assert.ok((vmStates as readonly string[]).includes(state), `${action} ${state}`) // Widened to compare.
  }
})
