import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startScriptedDaemon } from '@kvasir/sdk/testing/scripted-daemon'
import { dispatch } from '../dispatch.ts'
import { kvasir } from '../testing/run-command-line.ts'
import { parseStroke } from './send-keys.ts'

const expiresAt = '2099-01-01T00:00:00Z'

/** A daemon whose display greets, with a password for who asks. */
function startDisplays() {
  return startScriptedDaemon({
    request: ({ path }) =>
      path.endsWith('/password')
        ? { status: 200, json: { password: 'sesame', expiresAt } }
        : { status: 201, json: { ticket: 't', url: '/v1/streams/spice?ticket=t', expiresAt } },
    stream(socket, { path }) {
      assert.equal(path, '/v1/streams/spice')
      socket.send(Buffer.from('REDQ'))
    },
  })
}

test('a file for remote-viewer says where the display is, and only its owner can read the password', async () => {
  await using daemon = await startDisplays()
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-spice-'))
  const file = join(folder, 'web1.vv')
  const stopping = new AbortController()
  const said = Promise.withResolvers<void>()
  const code = dispatch(['vm', 'spice', 'web1', file], {
    stdout: { write: () => true },
    stderr: { write: () => Boolean(said.resolve()) || true },
    environment: { KVASIR_URL: daemon.url },
    signal: stopping.signal,
  })
  await said.promise

  const text = readFileSync(file, 'utf8')
  const port = Number(/^port=(\d+)$/m.exec(text)?.[1])
  assert.equal(
    text,
    `[virt-viewer]\ntype=spice\nhost=127.0.0.1\nport=${port}\npassword=sesame\ntitle=web1 (Kvasir)\ndelete-this-file=1\n`,
  )
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const viewer = connect(port, '127.0.0.1')
  assert.equal(String((await once(viewer, 'data'))[0]), 'REDQ')
  viewer.destroy()
  stopping.abort(new DOMException('', 'AbortError'))
  assert.equal(await code, 130)

  writeFileSync(file, 'somebody else’s')
  const refused = await kvasir(['vm', 'spice', 'web1', file], daemon)
  assert.equal(refused.code, 4)
  assert.match(refused.stderr, /is there already, so the display is not served/)
  rmSync(folder, { recursive: true })
})

test('keys are pressed together where a - is between, and one that there is not is refused', () => {
  assert.deepEqual(parseStroke('Ctrl-alt-delete'), ['ctrl', 'alt', 'delete'])
  assert.throws(() => parseStroke('ctrl-alt-delet'), /There is no key "delet"/)
})
