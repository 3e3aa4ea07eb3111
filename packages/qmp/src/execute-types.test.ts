/** What the checker accepts of `execute`; the assertions are made by tsc, through `@ts-expect-error`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QmpClient } from './client.ts'
import type { EventName, QmpEvent } from './messages.ts'
import { listenFakeMonitor, reply } from './testing/fake-peer.ts'

test('Commands, arguments, answers and events are typed by the introspection of QEMU', async () => {
  await using peer = await listenFakeMonitor((command, socket) => socket.write(reply(command, {})))
  using client = await QmpClient.connect({ path: peer.path })

  await client.execute('cont')
  await client.execute('query-status', {}, { timeoutMs: 1000 })
  await client.execute('device_add', {
    driver: 'virtio-net-pci',
    id: 'net0',
    bus: 'rp0',
    mac: '52:54:00:00:00:01',
  })
  await client.execute('blockdev-add', {
    driver: 'qcow2',
    file: { driver: 'file', filename: '/x', 'node-name': 'f' },
  })
  await client.execute('blockdev-add', { driver: 'qcow2', file: 'f', 'read-only': undefined })
  await client.execute('object-add', { 'qom-type': 'iothread', id: 'io0' })
  await client.execute('transaction', { actions: [{ type: 'abort', data: {} }] })
  const { status } = await client.execute('query-status')
  // @ts-expect-error A command that no introspected QEMU has.
  await client.execute('query-nothing')
  // @ts-expect-error An argument is missing.
  await client.execute('blockdev-del')
  // @ts-expect-error An argument has the wrong type.
  await client.execute('balloon', { value: '1' })
  // @ts-expect-error An argument that the command has not.
  await client.execute('balloon', { value: 1, extra: 2 })
  // @ts-expect-error A driver that QEMU has not.
  await client.execute('blockdev-add', { driver: 'zip', file: 'f' })
  // @ts-expect-error A state that QEMU has not.
  assert.notEqual(status === 'asleep', true)

  const reasons: string[] = []
  client.on('SHUTDOWN', ({ data }) => reasons.push(data.reason))
  client.on('*', (event: QmpEvent<EventName>) => {
    if (event.event === 'DEVICE_DELETED') reasons.push(event.data.path)
    // @ts-expect-error Only its own data is there.
    if (event.event === 'STOP') reasons.push(event.data.path)
  })
  assert.deepEqual(reasons, [])
})
