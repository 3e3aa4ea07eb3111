/** What QEMU 7.2 says of its back ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unservedIn } from './unserved-nics.ts'

test('a back end whose other end has gone is told from one that is served', () => {
  const nic = 'nic-net0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:42\r\n'
  const stream = 'net-old: index=0,type=stream,\r\n'

  assert.deepEqual(unservedIn(`${nic} \\ net-net0: index=0,type=socket,socket: fd=11\r\n${stream}`), [])
  assert.deepEqual(
    unservedIn(`${nic} \\ net-net0: index=0,type=socket,\r\nnet-x: index=0,type=socket,\r\n`),
    ['net-net0', 'net-x'],
  )
})
