import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { createClient } from '@kvasir/sdk'
import { bundleDaemon } from './bundle-daemon.ts'

const packages = join(dirname(import.meta.dirname), 'packages')

test('the bundle is the daemon, is smaller in memory than its sources, and is not run once a source has changed', async (t) => {
  const folder = join(packages, `daemon/.cache-test-${process.pid}`)
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const { main, sources } = await bundleDaemon(folder)
  assert.ok(sources > 300, String(sources))
  const start = join(folder, 'start.cjs')

  const bundled = await serve(t, start)
  const starter = readFileSync(start, 'utf8')
  writeFileSync(start, starter.replace(/,\d+\]/, ',1]'))
  const other = await serve(t, start)
  writeFileSync(start, starter)
  writeFileSync(main, "throw new Error('the bundle was run')")

  assert.ok(
    bundled.residentKib < 0.9 * other.residentKib,
    `${bundled.residentKib} KiB, ${other.residentKib} KiB`,
  )
  await assert.rejects(serve(t, start), /the bundle was run/)
})

const serveMs = 30_000

/** Runs a daemon on the simulated host until it has answered, and gives how much memory it then has. */
async function serve(t: TestContext, program: string): Promise<{ readonly residentKib: number }> {
  const place = mkdtempSync('/tmp/kvb-') // Sockets want short paths.
  t.after(() => rmSync(place, { recursive: true, force: true }))
  const names = ['STATE', 'RUNTIME', 'LOG'].map((name) => [`KVASIR_${name}_DIR`, join(place, name)] as const)
  const socketPath = join(place, 'RUNTIME/kvasir.sock')
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, '--simulated'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...Object.fromEntries(names), KVASIR_SOCKET_GROUP: 'root' },
  })
  t.after(() => child.kill('SIGKILL'))
  const said: string[] = []
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text))
  const ended = once(child, 'exit')
  const client = createClient({ socketPath })
  t.after(() => client.close())
  for (const until = Date.now() + serveMs; child.exitCode === null && Date.now() < until; ) {
    const status = await client.call(endpoints.getStatus).catch(() => undefined)
    if (status === undefined) {
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 50))])
      continue
    }
    assert.equal(status.pid, child.pid)
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))
    child.kill('SIGTERM')
    await ended
    return { residentKib: Number(resident?.[1]) }
  }
  throw new Error(`The daemon does not serve. It said: ${said.join('')}`)
}
