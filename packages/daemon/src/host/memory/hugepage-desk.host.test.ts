/** The desk on the kernel's own pool of 2 MiB pages of node 0: a few pages, all of them given back. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lacking, needs } from '../../../../../tools/require.ts'
import type { PageWant } from '../../model/memory/hugepages.ts'
import { HugepageDesk } from './hugepage-desk.ts'
import { persistentPages, readPools, setPersistentPages } from './pool-files.ts'

const pageBytes = 2 ** 21
const needed = 4
const pool = { node: 0, pageBytes }
const limits = { timeoutMs: 10_000 }
const skip = needs('root') || (await cannotReserve())

async function cannotReserve(): Promise<string | false> {
  if (readPools(pageBytes, true).nodes.length === 0) return lacking('hugepages', 'there is no pool')
  const before = persistentPages(0, pageBytes)
  try {
    await setPersistentPages(pool, before + 2 * needed, limits)
    return persistentPages(0, pageBytes) === before + 2 * needed
      ? false
      : lacking('hugepages', 'no pages can be reserved')
  } catch {
    return lacking('hugepages', 'the pool cannot be written')
  } finally {
    await setPersistentPages(pool, before, limits).catch(() => {})
  }
}

interface Bench {
  readonly desk: HugepageDesk
  readonly notePath: string
  /** What the kernel had before the test. */
  readonly before: number
  readonly want: PageWant
  readonly follow: (bootId?: string) => HugepageDesk
}

async function bench(t: TestContext, options: { readonly mayReserve: boolean }): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'kvp-'))
  const before = persistentPages(0, pageBytes)
  t.after(async () => {
    await setPersistentPages(pool, before, limits)
    await rm(folder, { recursive: true, force: true })
  })
  const follow = (bootId = 'boot1') => new HugepageDesk({ bootId, ...options })
  const free = readPools(pageBytes, true).nodes.find(({ node }) => node === 0)?.free ?? 0
  const want: PageWant = { vm: 'web1', pageBytes, pages: free + needed, nodes: [0], policy: 'bind' }
  return { desk: follow(), notePath: join(folder, 'note.json'), before, want, follow }
}

test('missing pages are reserved and given back', { skip }, async (t) => {
  const { desk, notePath, before, want } = await bench(t, { mayReserve: true })

  await desk.handOut(want, notePath)
  const during = persistentPages(0, pageBytes)
  const noted = await desk.reservations(notePath)
  await desk.giveBack(notePath)
  await desk.giveBack(notePath)

  assert.equal(during, before + needed)
  assert.deepEqual(noted, [{ node: 0, pages: needed, pageBytes }])
  assert.equal(persistentPages(0, pageBytes), before)
  await assert.rejects(stat(notePath), { code: 'ENOENT' })
})

test('without leave nothing is reserved, and the refusal says what is missing', { skip }, async (t) => {
  const { desk, notePath, before, want } = await bench(t, { mayReserve: false })

  await assert.rejects(desk.handOut(want, notePath), {
    code: 'not-enough-memory',
    message: new RegExp(`${needed} on node 0`),
  })
  assert.equal(persistentPages(0, pageBytes), before)
})

test('pages that are handed out are not handed out twice, and who comes then waits', { skip }, async (t) => {
  const { desk, notePath, before, want } = await bench(t, { mayReserve: true })
  await desk.handOut(want, notePath)
  let isServed = false
  const second = desk.handOut(want, `${notePath}2`).then(() => {
    isServed = true
  })
  await sleep(100)
  const [wasServed, during] = [isServed, persistentPages(0, pageBytes)]

  await desk.giveBack(notePath)
  await second
  const after = persistentPages(0, pageBytes)
  await desk.giveBack(`${notePath}2`)

  assert.equal(wasServed, false)
  assert.equal(during, before + needed)
  assert.equal(after, before + needed)
  assert.equal(persistentPages(0, pageBytes), before)
})

test('a VM that starts while another takes its pages is not refused for them', { skip }, async (t) => {
  const { desk, notePath, before, want } = await bench(t, { mayReserve: false })
  await setPersistentPages(pool, before + 2 * needed, limits)
  const free = want.pages - needed
  const [first, other] = [needed, free + needed].map((pages) => ({ ...want, pages }))
  assert.ok(first && other)
  await desk.handOut(first, notePath)
  // The emulator of the first has its pages, and its daemon does not know that yet.
  await setPersistentPages(pool, before + needed, limits)

  const second = desk.handOut(other, `${notePath}2`)
  await sleep(100)
  assert.equal(desk.read(pageBytes).isUnsettled, true)
  desk.taken(notePath)

  await second
})

test('waiting for pages ends with the start that waits', { skip }, async (t) => {
  const { desk, notePath, want } = await bench(t, { mayReserve: true })
  await desk.handOut(want, notePath)
  const reason = new Error('cancelled')

  await assert.rejects(desk.handOut(want, `${notePath}2`, { signal: AbortSignal.abort(reason) }), reason)
  await desk.giveBack(notePath)
})

test('more pages than the host has memory are refused, and none of it is taken', { skip }, async (t) => {
  const { desk, notePath, before, want } = await bench(t, { mayReserve: true })

  await assert.rejects(desk.handOut({ ...want, pages: 2 ** 30 }, notePath), {
    code: 'not-enough-memory',
    message: /could reserve 0, since only .* is free there/,
  })
  await desk.giveBack(notePath)

  assert.equal(persistentPages(0, pageBytes), before)
})

test('a daemon that follows gives back what a dead one reserved', { skip }, async (t) => {
  const { desk, notePath, before, want, follow } = await bench(t, { mayReserve: true })
  await desk.handOut(want, notePath)

  await follow().giveBack(notePath)

  assert.equal(persistentPages(0, pageBytes), before)
})

/** What a daemon that is killed leaves of a reservation, at each of its steps, and how many of the pages the kernel has by then. */
const deaths = {
  'before the kernel was asked': { step: 'asking', has: 0, before: 0 },
  'when the kernel had given them': { step: 'asking', has: needed, before: 0 },
  'before the kernel was told to have them back': { step: 'returning', has: needed, before: needed },
  'when the kernel had them back': { step: 'returning', has: 0, before: needed },
} as const

for (const [when, { step, has, before: extra }] of Object.entries(deaths))
  test(`a daemon that died ${when} costs no page`, { skip }, async (t) => {
    const { notePath, before, follow } = await bench(t, { mayReserve: true })
    await setPersistentPages(pool, before + has, limits)
    const parts = [{ node: 0, before: before + extra, pages: needed, step }]
    await writeFile(notePath, JSON.stringify({ bootId: 'boot1', pageBytes, parts }))

    await follow().giveBack(notePath)

    assert.equal(persistentPages(0, pageBytes), before)
  })

test('a note of an earlier boot of the host takes nothing away', { skip }, async (t) => {
  const { desk, notePath, before, want, follow } = await bench(t, { mayReserve: true })
  await desk.handOut(want, notePath)
  const text = await readFile(notePath, 'utf8')

  await follow('boot2').giveBack(notePath)

  assert.equal(persistentPages(0, pageBytes), before + needed)
  assert.match(text, /boot1/)
})
