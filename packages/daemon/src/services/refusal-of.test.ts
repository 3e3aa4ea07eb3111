import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { refusalFrom } from './refusal-of.ts'

test('an error of a system call is the host, with the call, the file and the code', async () => {
  const error: unknown = await readFile('/nowhere/at/all').catch((thrown: unknown) => thrown)

  const refusal = refusalFrom(error)

  assert.equal(refusal?.code, 'host-failed')
  assert.match(refusal.message, /^The host refused open of \/nowhere\/at\/all with ENOENT, so /)
})

test('a full disk is a full disk', () => {
  const error = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' })

  assert.equal(refusalFrom(error)?.code, 'not-enough-space')
})

test('a refusal whose undo failed too is still that refusal', async () => {
  const refusal = new KvasirError('in-use', 'It is in use, so it stays.')
  const work = async () => {
    await using undo = new AsyncDisposableStack()
    undo.defer(() => Promise.reject(new Error('undo')))
    throw refusal
  }

  const thrown: unknown = await work().catch((error: unknown) => error)

  assert.ok(thrown instanceof SuppressedError)
  assert.equal(refusalFrom(thrown), refusal)
})

test('a defect is nobody else', () => {
  assert.equal(refusalFrom(new TypeError('x is not a function')), undefined)
  assert.equal(refusalFrom('text'), undefined)
})
