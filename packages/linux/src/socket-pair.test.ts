import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { connectPair, type SocketEnd } from './socket-pair.ts'

async function pairFor(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-pair-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return { directory, pair: await connectPair(directory) }
}

function shell(script: string, end: SocketEnd): ChildProcess {
  return spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit', end.fd] })
}

function wordsOf(child: ChildProcess): Promise<string> {
  assert.ok(child.stdout)
  return text(child.stdout)
}

test('what a child says reaches the other, though nobody listened yet, and none of it us', async (t) => {
  const { directory, pair } = await pairFor(t)
  const [one, other] = pair

  await once(shell('echo hello >&3', one), 'exit')
  await new Promise((resolve) => setTimeout(resolve, 20))
  const answerer = shell('read -r word <&3; echo "$word you" >&3; echo "$word"', other)
  const first = await wordsOf(answerer)
  other.release()
  const second = await wordsOf(shell('read -r answer <&3; echo "$answer"', one))
  one.release()

  assert.deepEqual([first, second], ['hello\n', 'hello you\n'])
  assert.deepEqual(await readdir(directory), [])
})

test('an end that is let go of ends the connection for the other', async (t) => {
  const { pair } = await pairFor(t)
  const [one, other] = pair

  const reader = shell('cat <&3; echo ended', one)
  one.release()
  other.release()
  other.release()

  assert.equal(await wordsOf(reader), 'ended\n')
})

test('a directory that does not exist is refused', async () => {
  await assert.rejects(connectPair('/no/such/directory'), /ENOENT|EACCES/)
})
