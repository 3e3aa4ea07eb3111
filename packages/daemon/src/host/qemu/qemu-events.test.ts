import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { QmpEvent } from '@kvasir/qmp'
import { translateEvent } from './qemu-events.ts'

/** As the monitor of any QEMU gives it: the types are those of one version. */
function event(name: string, data: Readonly<Record<string, unknown>>): QmpEvent {
  return { event: name, data, timestampMs: 1 } as QmpEvent // What a monitor says is not typed.
}

test('a NIC whose helper went is without a network', () => {
  const data = { 'netdev-id': 'net-lan' }

  assert.deepEqual(translateEvent({ event: 'NETDEV_STREAM_DISCONNECTED', data, timestampMs: 1 }), {
    kind: 'network-lost',
    netdev: 'net-lan',
  })
})

test("a guest's answers about its vCPUs are told apart: taken, under way, let go of, refused", () => {
  const answer = (source: number, status: number) =>
    translateEvent(event('ACPI_DEVICE_OST', { info: { slot: '2', 'slot-type': 'CPU', source, status } }))
  const says = (about: 'plug' | 'unplug', isDone: boolean, isRefused: boolean) => ({
    kind: 'vcpus',
    answer: { index: 2, about, isDone, isRefused },
  })

  assert.deepEqual(answer(1, 0), says('plug', true, false))
  assert.deepEqual(answer(3, 0x84), says('unplug', false, false))
  assert.deepEqual(answer(3, 0), says('unplug', true, false))
  assert.deepEqual(answer(3, 0x82), says('unplug', false, true))
})

test("what a guest says of a small device is told by the device's name", () => {
  const said = (name: string, device: string) => translateEvent(event(name, { device, path: '/machine' }))

  assert.deepEqual(said('DEVICE_DELETED', 'rng'), { kind: 'device', answer: { device: 'rng', isGone: true } })
  assert.deepEqual(said('DEVICE_UNPLUG_GUEST_ERROR', 'watchdog'), {
    kind: 'device',
    answer: { device: 'watchdog', isGone: false },
  })
  assert.equal(said('DEVICE_DELETED', 'display'), undefined)
})

test('a vCPU that is gone is a hint to look, and another device is nothing', () => {
  const gone = (path: string) => translateEvent(event('DEVICE_DELETED', { path }))

  assert.deepEqual(gone('/machine/peripheral/vcpu2/lapic'), { kind: 'vcpus', answer: undefined })
  assert.deepEqual(gone('/machine/unattached/device[3]/lapic'), { kind: 'vcpus', answer: undefined })
  assert.equal(gone('/machine/peripheral/nic-lan'), undefined)
  assert.equal(
    translateEvent(
      event('ACPI_DEVICE_OST', { info: { slot: '0', 'slot-type': 'DIMM', source: 1, status: 0 } }),
    ),
    undefined,
  )
})
