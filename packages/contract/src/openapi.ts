/**
 * The OpenAPI 3.1 document, made from the endpoints: paths, named schemas, problem answers, and the two headers of the API.
 *
 * Requests are described as a client may write them (sizes as `2GiB`, defaults left out), answers as the daemon gives them. A schema
 * that differs between the two has two components: `VmSpec` in answers, `VmSpecInput` in requests.
 *
 * Not here: how zod schemas become components (openapi-schemas.ts), writing the file (tools/generate-openapi.ts), serving it (the
 * daemon).
 */
import { z } from 'zod'
import { contentsTypes } from './contents.ts'
import { receivedContents } from './contents-schemas.ts'
import type { Endpoint } from './endpoint.ts'
import { endpoints, streams } from './endpoints.ts'
import { errorTable, problem } from './errors.ts'
import { asObject, ComponentSchemas, type JsonObject } from './openapi-schemas.ts'

/** The OpenAPI 3.1 document of the REST API. The same contract gives the same document, byte for byte. */
export function openApiDocument(version = '0.1.0'): JsonObject {
  const all: readonly Endpoint[] = Object.values(endpoints)
  const schemas = new ComponentSchemas([
    { schema: problem, direction: 'output' },
    ...all.flatMap((endpoint) => [
      ...(endpoint.answer === 'json' ? [{ schema: endpoint.response, direction: 'output' as const }] : []),
      ...(takesBody(endpoint) && endpoint.body !== receivedContents
        ? [{ schema: endpoint.body, direction: 'input' as const }]
        : []),
    ]),
  ])
  const paths: Record<string, Record<string, JsonObject>> = {}
  for (const endpoint of all) {
    const operations = paths[endpoint.path] ?? {}
    operations[endpoint.method.toLowerCase()] = operation(endpoint, schemas)
    paths[endpoint.path] = operations
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Kvasir',
      version,
      summary: 'Virtual machines on Linux hosts with KVM and QEMU.',
      description: `Errors are RFC 9457 problem documents. Long actions answer 202 with a job. WebSocket streams: ${Object.values(streams).join(', ')}.`,
    },
    paths,
    components: { schemas: schemas.components(), responses: { Problem: problemAnswer() } },
  }
}

const idempotencyKey: JsonObject = {
  name: 'Idempotency-Key',
  in: 'header',
  description: "A repeated request with the same key gives the first one's answer.",
  schema: { type: 'string', minLength: 1, maxLength: 255 },
}

const ifMatch: JsonObject = {
  name: 'If-Match',
  in: 'header',
  description: 'The revision that was read; the request is refused when it has changed since.',
  schema: { type: 'string' },
}

function takesBody(endpoint: Endpoint): boolean {
  return !(endpoint.body instanceof z.ZodUndefined)
}

function operation(endpoint: Endpoint, schemas: ComponentSchemas): JsonObject {
  const parameters = [
    ...fields(endpoint.params, schemas).map((field) => ({ ...field, in: 'path', required: true })),
    ...fields(endpoint.query, schemas).map((field) => ({ ...field, in: 'query' })),
    ...(endpoint.idempotent ? [idempotencyKey] : []),
    ...(endpoint.ifMatch ? [ifMatch] : []),
    ...(endpoint.answer === 'contents' ? [range, ifRange] : []),
  ]
  return {
    operationId: endpoint.id,
    summary: endpoint.summary,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(takesBody(endpoint) ? { requestBody: requestBody(endpoint, schemas) } : {}),
    responses: {
      [endpoint.status]: answer(endpoint, schemas),
      default: { $ref: '#/components/responses/Problem' },
    },
  }
}

const contentsBody: JsonObject = Object.fromEntries(Object.values(contentsTypes).map((type) => [type, {}]))

const range: JsonObject = {
  name: 'Range',
  in: 'header',
  description: 'bytes=FROM- or bytes=FROM-TO: positions in the volume, whatever form its contents travel in.',
  schema: { type: 'string' },
}

const ifRange: JsonObject = {
  name: 'If-Range',
  in: 'header',
  description: 'The ETag of a former answer: where the volume has changed since, all of it is sent.',
  schema: { type: 'string' },
}

function requestBody(endpoint: Endpoint, schemas: ComponentSchemas): JsonObject {
  if (endpoint.body === receivedContents) return { required: true, content: contentsBody }
  return {
    required: !endpoint.body.safeParse(undefined).success,
    content: { 'application/json': { schema: schemas.schema(endpoint.body, 'input') } },
  }
}

function answer(endpoint: Endpoint, schemas: ComponentSchemas): JsonObject {
  const description = endpoint.summary
  switch (endpoint.answer) {
    case 'none':
      return { description: 'Done.' }
    case 'png':
      return { description, content: { 'image/png': {} } }
    case 'contents':
      return { description, content: contentsBody }
    case 'bytes':
      return { description, content: { 'application/octet-stream': {} } }
    case 'text':
      return { description, content: { 'text/plain': { schema: { type: 'string' } } } }
    case 'json':
      return {
        description,
        content: { 'application/json': { schema: schemas.schema(endpoint.response, 'output') } },
      }
  }
}

function problemAnswer(): JsonObject {
  const statuses = [...new Set(Object.values(errorTable).map((row) => row.status))].toSorted((a, b) => a - b)
  return {
    description: `A refusal. Its status is one of ${statuses.join(', ')}; \`code\` names the reason.`,
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  }
}

function fields(schema: z.ZodType, schemas: ComponentSchemas): JsonObject[] {
  const object = schemas.schema(schema, 'input')
  const required: readonly unknown[] = Array.isArray(object['required']) ? object['required'] : []
  return Object.entries(asObject(object['properties'])).map(([name, value]) => {
    const { description, ...rest } = asObject(value)
    return {
      name,
      ...(description === undefined ? {} : { description }),
      required: required.includes(name),
      schema: rest,
    }
  })
}
