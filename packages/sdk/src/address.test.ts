import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDaemonUrl, urlOfEnvironment } from './address.ts'

test('the environment names the daemon: KVASIR_URL, else the socket of KVASIR_RUNTIME_DIR, else nothing', () => {
  const both = { KVASIR_URL: 'https://host:8443', KVASIR_RUNTIME_DIR: '/run/other' }

  assert.equal(urlOfEnvironment(both), 'https://host:8443')
  assert.equal(urlOfEnvironment({ ...both, KVASIR_URL: '' }), '/run/other/kvasir.sock')
  assert.equal(urlOfEnvironment({ KVASIR_RUNTIME_DIR: '' }), undefined)
})

test('the socket of a folder with any name is the address of a socket', () => {
  const url = urlOfEnvironment({ KVASIR_RUNTIME_DIR: '/run/a #1 %2f' }) ?? ''

  assert.deepEqual(parseDaemonUrl(url), {
    kind: 'unix',
    socketPath: '/run/a #1 %2f/kvasir.sock',
    text: '/run/a #1 %2f/kvasir.sock',
  })
})
