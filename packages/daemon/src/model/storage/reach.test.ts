import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reachLine, reachLines } from './reach.ts'

test('a server is a line of its address, prefix, ports and whether a low port is wanted', () => {
  assert.equal(reachLine({ address: '192.0.2.1', firstPort: 3260 }), '192.0.2.1 32 3260 3260 0')
  assert.equal(
    reachLine({ address: '2001:db8::/64', firstPort: 6800, lastPort: 7568, fromReservedPort: true }),
    '2001:db8:: 64 6800 7568 1',
  )
})

test('what is no address in figures, no prefix or no port is nothing to reach', () => {
  for (const address of [
    '',
    'storage.example',
    '192.0.2.1/33',
    '::/129',
    '192.0.2.1/x',
    'fe80::1%eth0',
    '1 2',
  ])
    assert.throws(() => reachLine({ address, firstPort: 1 }), TypeError, address)
  for (const [firstPort, lastPort] of [
    [0, 1],
    [2, 1],
    [1, 65_536],
    [1.5, 2],
  ] as const)
    assert.throws(() => reachLine({ address: '192.0.2.1', firstPort, lastPort }), TypeError)
})

test('a server that two disks lie on is one line', () => {
  const server = { address: '192.0.2.1', firstPort: 3260 }
  assert.equal(reachLines([server, server, { ...server, firstPort: 3261 }]).length, 2)
})
