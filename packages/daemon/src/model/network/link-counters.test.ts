import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nicCounters } from './link-counters.ts'

const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
kvt9056a7f787:    1526      17    1    2    0     0          0         0   982731     700    3    41    0     0       0          0
`

test('a guest has sent what its tap has received, and the other way round', () => {
  const taps = new Map([
    ['kvt9056a7f787', { nic: 'net0', isMacvtap: false }],
    ['kvt0000000000', { nic: 'gone', isMacvtap: false }],
  ])

  assert.deepEqual(nicCounters(text, taps), [
    {
      nic: 'net0',
      sentBytes: 1526,
      sentPackets: 17,
      sendDrops: 2,
      receivedBytes: 982731,
      receivedPackets: 700,
      receiveDrops: 41,
    },
  ])
})

test('a guest has sent what its macvtap has sent', () => {
  const taps = new Map([['kvt9056a7f787', { nic: 'net0', isMacvtap: true }]])

  const [counters] = nicCounters(text, taps)

  assert.deepEqual([counters?.sentBytes, counters?.receivedBytes, counters?.receiveDrops], [982731, 1526, 2])
})
