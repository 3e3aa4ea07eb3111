import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startApi } from './testing/running-api.ts'

interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string }>>>>
}

test('every operation of the OpenAPI document is bound, and reaches its own handler', async () => {
  await using api = await startApi()
  const { json } = await api.send('/v1/openapi.json')
  const document = json as Document
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ path, method: method.toUpperCase() })),
  )

  assert.match(document.openapi, /^3\.1/)
  assert.ok(operations.length >= 30)
  for (const { path, method } of operations) {
    const url = path.replace('{id}', '8f9d6d8e-3a51-4f9e-9d0c-3c8f0a1b2c3d').replace(/\{\w+\}/g, 'x')
    const answer = await api.send(url, { method, body: method === 'GET' ? undefined : {} })
    // Either the request lacks a body, or the test's handler is reached, which always meets a defect.
    assert.ok([400, 500].includes(answer.status), `${method} ${path}: ${answer.status}`)
    assert.equal(answer.headers['content-type'], 'application/problem+json; charset=utf-8')
  }
})
