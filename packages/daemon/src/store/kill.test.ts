import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fuzzRuns } from '../../../../tools/fuzz-runs.ts'
import { openStore } from './open-store.ts'
import { sampleNow } from './testing/records.ts'

/** Writes transactions until it is killed, telling the number of each that was committed. */
const WRITER = `
  import { openStore } from '${import.meta.resolve('./open-store.ts')}'
  import { sampleVm, sampleNow } from '${import.meta.resolve('./testing/records.ts')}'
  import { writeSync } from 'node:fs'
  const store = openStore({ path: process.argv[1], now: sampleNow })
  let revision = store.events.range().latest
  if (revision === 0) store.transaction(() => {
    store.vms.insert(sampleVm('1', { revision: 1 }))
    store.events.append({ kind: 'vm.created', subject: 'vm-1', at: sampleNow(), data: { revision: 1 } })
    revision = 1
  })
  for (;;) {
    revision++
    store.transaction(() => {
      store.vms.update(sampleVm('1', { revision }))
      store.events.append({ kind: 'vm.changed', subject: 'vm-1', at: sampleNow(), data: { revision } })
    }, { outlives: revision % 3 === 0 ? 'host' : 'daemon' })
    writeSync(1, revision + '\\n')
  }`

async function writeUntilKilled(path: string, ms: number): Promise<number> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', WRITER, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let acknowledged = 0
  const lines = createInterface({ input: child.stdout })
  let armed = false
  for await (const line of lines) {
    acknowledged = Number(line)
    if (armed) continue
    armed = true
    void sleep(ms).then(() => child.kill('SIGKILL'))
  }
  return acknowledged
}

test('a store whose daemon is killed keeps every acknowledged transaction, each whole, whatever else it outlives', {
  timeout: 60_000,
}, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-store-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const path = join(directory, 'kvasir.db')

  for (let round = 0; round < fuzzRuns(2); round++) {
    const ms = [5, 30][round] ?? Math.random() * 50
    const acknowledged = await writeUntilKilled(path, ms)

    const store = openStore({ path, now: sampleNow })
    const row = store.vms.get('1')
    const revision = row?.kind === 'vm' ? row.record.revision : undefined
    const { latest } = store.events.range()
    store.close()
    assert.ok(acknowledged > 0)
    assert.ok(latest === acknowledged || latest === acknowledged + 1, `${latest} after ${acknowledged}`)
    assert.equal(revision, latest)
  }
})
