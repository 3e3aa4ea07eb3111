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
    ['kvt9056a7f787', 'net0'],
    ['kvt0000000000', 'gone'],
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
