import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Piece } from '@kvasir/contract'
import { sendPart } from './contents.ts'

const mib = 2 ** 20

async function* pieces(count: number): AsyncGenerator<Piece> {
  for (let sent = 0; sent < count; sent++) yield { kind: 'data', bytes: new Uint8Array(mib) }
}

async function answerSlowly(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes % (4 * mib) < chunk.length) await pause(1)
  }
  response.end(JSON.stringify({ offsetBytes: bytes, sizeBytes: bytes }))
}

test('a part whose reader is slow is sent without a warning of listeners that are left', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-sdk-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const warnings: string[] = []
  const warned = ({ name }: Error) => warnings.push(name)
  process.on('warning', warned)
  t.after(() => process.removeListener('warning', warned))
  const server = createServer((request, response) => void answerSlowly(request, response))
  t.after(() => server.close())
  const socketPath = join(folder, 's')
  await once(server.listen(socketPath), 'listening')

  const sent = await sendPart(
    { address: { kind: 'unix', socketPath, text: socketPath }, path: '/', headers: {} },
    { pieces: pieces(32), signal: AbortSignal.timeout(20_000) },
  )

  await pause(1) // Warnings are told a moment later.
  assert.ok(sent.offsetBytes > 32 * mib, 'all of it, and what says how long each piece is')
  assert.deepEqual(warnings, [])
})
