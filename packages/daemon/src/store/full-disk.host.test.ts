import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../tools/require.ts'
import type { Store } from '../ports/store.ts'
import { openStore } from './open-store.ts'
import { sampleNow, sampleVm } from './testing/records.ts'

const skip = needs('root')

/** A disk of 24 MB, and the way to a store on it; stores are closed before the disk goes. */
async function smallDisk(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'kvasir-test', directory])
  const path = join(directory, 'kvasir.db')
  const opened: Store[] = []
  t.after(async () => {
    for (const store of opened) store.close()
    execFileSync('umount', [directory])
    await rm(directory, { recursive: true, force: true })
  })
  const open = () => {
    const store = openStore({ path, now: sampleNow })
    opened.push(store)
    return store
  }
  const remount = (options: string) => execFileSync('mount', ['-o', `remount,${options}`, directory])
  return { directory, open, remount }
}

function fill(directory: string): string {
  const path = join(directory, 'filler')
  const descriptor = openSync(path, 'w')
  for (const size of [1024 * 1024, 4096]) {
    try {
      for (;;) writeSync(descriptor, Buffer.alloc(size))
    } catch {
      // Full, or nearly.
    }
  }
  closeSync(descriptor)
  return path
}

function isUnwritable(error: unknown): boolean {
  return error instanceof KvasirError && error.code === 'store-unwritable' && error.cause instanceof Error
}

const largeVm = (id: string) =>
  sampleVm(id, {
    spec: { ...sampleVm(id).spec, cloudInit: { sshKeys: [], userData: 'x'.repeat(1_000_000) } },
  })

test('on a full disk VMs are still stopped and deleted, and what does not fit is refused whole', {
  skip,
}, async (t) => {
  const { directory, open } = await smallDisk(t)
  const store = open()
  for (let i = 0; i < 20; i++) store.vms.insert(sampleVm(`id-${i}`))
  const filler = fill(directory)

  for (let round = 0; round < 10; round++)
    for (let i = 0; i < 20; i++)
      store.transaction(() => {
        store.vms.update(sampleVm(`id-${i}`, { intent: round % 2 === 0 ? 'stop' : 'none' }))
        store.events.append({ kind: 'vm.state', subject: `id-${i}`, at: sampleNow(), data: {} })
      })
  assert.throws(() => {
    for (let i = 0; i < 20; i++)
      store.transaction(() => {
        store.events.append({ kind: 'vm.created', subject: `large-${i}`, at: sampleNow(), data: {} })
        store.vms.insert(largeVm(`large-${i}`))
      })
  }, isUnwritable)
  const listed = store.vms.list()
  const events = store.events.range().latest

  const created = listed.filter((row) => row.kind === 'vm' && row.record.id.startsWith('large')).length
  assert.equal(listed.length, 20 + created)
  assert.equal(events, 200 + created)
  rmSync(filler)
  store.vms.insert(largeVm('later'))
  assert.equal(store.vms.get('later')?.kind, 'vm')
})

test('a failed write inside a transaction that goes on dooms all of it', { skip }, async (t) => {
  const { directory, open } = await smallDisk(t)
  const store = open()
  fill(directory)

  assert.throws(
    () =>
      store.transaction(() => {
        store.vms.insert(sampleVm('before'))
        assert.throws(() => {
          for (let i = 0; i < 30; i++) store.vms.insert(largeVm(`large-${i}`))
        }, isUnwritable)
        store.vms.insert(sampleVm('after'))
      }),
    isUnwritable,
  )

  assert.deepEqual(store.vms.list(), [])
})

test('a store on a disk that is full opens and is written', { skip }, async (t) => {
  const { directory, open } = await smallDisk(t)
  const first = open()
  first.vms.insert(sampleVm('1'))
  first.close()
  fill(directory)

  const second = open()
  second.vms.update(sampleVm('1', { revision: 2 }))

  assert.deepEqual(second.vms.list(), [{ kind: 'vm', record: sampleVm('1', { revision: 2 }) }])
})

test('a store on a read-only disk says that it cannot be written', { skip }, async (t) => {
  const { open, remount } = await smallDisk(t)
  open().close()
  remount('ro')

  assert.throws(open, isUnwritable)
})

test('a first start on a full disk says so and leaves nothing half-made', { skip }, async (t) => {
  const { directory, open } = await smallDisk(t)
  const filler = fill(directory)

  assert.throws(open, isUnwritable)

  rmSync(filler)
  assert.deepEqual(open().vms.list(), [])
})
