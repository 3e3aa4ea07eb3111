/** Guests whose equal pages KSM shares, as the kernel of the host says it page by page, and as `vm show` and `host show` do. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { lacking, needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { guestMapping, guestPages } from '../machine/guest-pages.ts'
import { openWorld } from '../machine/world.ts'

const mib = 2 ** 20
const guestBytes = 128 * mib
const ksm = '/sys/kernel/mm/ksm'
const skip =
  needs('root', 'qemu') || (existsSync(ksm) ? false : lacking('ksm', 'the kernel merges no equal pages'))
const read = (path: string) => readFileSync(path, 'utf8').trim()

/** Sets files of KSM for the rest of a test. */
function setKsm(t: TestContext, files: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(files)) {
    const before = read(`${ksm}/${name}`)
    t.after(() => writeFileSync(`${ksm}/${name}`, before))
    writeFileSync(`${ksm}/${name}`, value)
  }
}

/** Whether the kernel may share pages of a VM's memory (VM_MERGEABLE, proc(5)). */
const mayShare = (pid: number) => /^VmFlags:.* mg\b/m.test(guestMapping(pid, guestBytes))

/** So much of each guest holds the same as in the others, no two pages of it equal. */
const equalBytes = 16 * mib
const quarter = equalBytes / 4
const fill = [
  `seq 1 700000 | head -c ${quarter} > /run/equal0`,
  'tr 0123456789 abcdefghij < /run/equal0 > /run/equal1',
  'tr 0123456789 klmnopqrst < /run/equal0 > /run/equal2',
  'tr 0123456789 ABCDEFGHIJ < /run/equal0 > /run/equal3',
  'cat /run/equal[0-3] | wc -c',
].join(' && ')

test('two guests with equal pages share half of them or more, and a third without KSM none', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const [one, two, alone] = await Promise.all([
    world.bootTiny('one'),
    world.bootTiny('two'),
    world.bootTiny('alone', { memory: { ksm: false } }),
  ])
  for (const vm of [one, two, alone]) assert.equal(await vm.shell(fill), String(equalBytes))
  setKsm(t, { pages_to_scan: '5000', sleep_millisecs: '20', run: '1' })

  const merged = await eventually(
    async () => {
      const bytes = await Promise.all(
        [one, two].map(async (vm) => (await vm.show()).status.memory?.host?.ksmBytes ?? 0),
      )
      return bytes.every((count) => count >= equalBytes) ? bytes : undefined
    },
    { withinMs: 60_000, everyMs: 1_000, what: 'as much is merged as is equal' },
  )
  await Promise.all([one.pause(), two.pause()])
  const [ones, twos] = await Promise.all([one, two].map(async (vm) => guestPages(await vm.pid(), guestBytes)))

  const shown = merged.map((bytes) => Math.round(bytes / mib)).join(' and ')
  t.diagnostic(`vm show: ${shown} MiB merged; ${read(`${ksm}/pages_sharing`)} pages saved on the host`)
  for (const [mine, theirs] of [
    [ones ?? [], twos ?? []],
    [twos ?? [], ones ?? []],
  ] as const) {
    const known = new Set(theirs.map(({ digest }) => digest))
    const equal = mine.filter(({ digest }) => known.has(digest))
    const shared = equal.filter(({ isMerged }) => isMerged)
    t.diagnostic(`${shared.length} of ${equal.length} pages that both have are shared`)
    assert.ok(equal.length * 4096 >= equalBytes, `${equal.length} pages are equal`)
    assert.ok(shared.length >= equal.length / 2, `${shared.length} of ${equal.length} are shared`)
  }
  assert.ok(Number(read(`${ksm}/pages_sharing`)) * 4096 >= equalBytes / 2)
  assert.equal((await alone.show()).status.memory?.host?.ksmBytes ?? 0, 0)
  assert.match((await world.cli('host', 'show')).stdout, /^KSM +on, saves \d/m)
  assert.match((await world.cli('vm', 'show', 'one')).stdout, /shared by KSM/)

  const pids = await Promise.all([one, two, alone].map((vm) => vm.pid()))
  assert.deepEqual(pids.map(mayShare), [true, true, false])
  const { spec } = await one.show()
  await one.apply({ ...spec, memory: { ...spec.memory, ksm: false } })
  assert.deepEqual(pids.map(mayShare), [false, true, false])
})
