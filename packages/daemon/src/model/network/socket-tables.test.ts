import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseListeners } from './socket-tables.ts'

const head =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
const rest = '00000000:00000000 00:00000000 00000000     0        0'

test('sockets that wait are read with their addresses, and others are not', () => {
  const tcp = [
    head,
    `   0: 0100007F:1F90 00000000:0000 0A ${rest} 4711 1 0000000000000000 100 0 0 10 0`,
    `   1: 0100007F:1F91 0100007F:0050 01 ${rest} 4712 1 0000000000000000 100 0 0 10 0`,
    'no line of it',
  ]
  const six = (address: string) => `   0: ${address}:0035 ${'0'.repeat(32)}:0000 07 ${rest} 9 2 0 0`

  assert.deepEqual(parseListeners(tcp.join('\n'), 'tcp'), [
    { protocol: 'tcp', address: '127.0.0.1', port: 8080, inode: '4711' },
  ])
  const addresses = ['0'.repeat(32), '0000000000000000FFFF00000100007F', 'B80D0120000000000000000001000000']
  assert.deepEqual(
    addresses.map((address) => parseListeners(six(address), 'udp')[0]?.address),
    ['::', '127.0.0.1', '2001:db8::1'],
  )
})
