import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dropsOf, ruleCounts, withoutCounts } from './rule-counts.ts'

/** As nft 1.0.6 prints it. */
const table = `table bridge kvasir_0b7e9a526f {
\tcomment "kvasir 0b7e9a52"

\tchain kvt1_drop {
\t\tcounter packets 3 bytes 180 drop
\t}

\tchain kvt1_send {
\t\tlimit rate over 1 mbytes/second burst 128 kbytes counter packets 20 bytes 30000 drop
\t}

\tchain kvt1 {
\t\tether saddr != 52:54:00:00:00:01 goto kvt1_drop
\t\ticmpv6 type { nd-router-advert, nd-redirect } goto kvt1_drop
\t}

\tchain kvt2_isolated {
\t\tcounter packets 5 bytes 500 drop
\t}

\tchain kvt2_receive {
\t\tlimit rate over 1 mbytes/second burst 128 kbytes counter packets 4 bytes 400 drop
\t}
}
`

test('each chain has what it counted, and a tap what its chains dropped', () => {
  const counts = ruleCounts(table)

  assert.deepEqual([...counts.keys()], ['kvt1_drop', 'kvt1_send', 'kvt2_isolated', 'kvt2_receive'])
  assert.deepEqual(counts.get('kvt1_send'), { packets: 20, bytes: 30_000 })
  assert.deepEqual(dropsOf('kvt1', counts), { guard: 3, limit: 20, isolation: 0 })
  assert.deepEqual(dropsOf('kvt2', counts), { guard: 0, limit: 4, isolation: 5 })
  assert.equal(dropsOf('kvt3', counts), undefined, 'Nothing holds it to anything.')
})

test('a table is the same whatever it counted, and another one when a rule is another', () => {
  const later = table.replace('packets 3 bytes 180', 'packets 4 bytes 240')

  assert.equal(withoutCounts(later), withoutCounts(table))
  assert.notEqual(withoutCounts(later.replace(' goto kvt1_drop', ' accept')), withoutCounts(table))
})
