import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type VmSpec, vmSpec } from '@kvasir/contract'
import fc from 'fast-check'
import { memoryOrders, planPlugMemory } from './plug-memory.ts'

const mib = 2 ** 20
const gib = 2 ** 30

function specOf(memory: Readonly<Record<string, string | number>>): VmSpec {
  return vmSpec.parse({ memory })
}

test('a VM boots with its size and room up to its maximum, in whole blocks', () => {
  assert.deepEqual(planPlugMemory(specOf({ size: '1GiB', max: '4GiB' })), {
    bootBytes: gib,
    regionBytes: 3 * gib,
  })
  assert.equal(planPlugMemory(specOf({ size: '513MiB', max: '1GiB' }))?.regionBytes, 510 * mib)
  assert.equal(planPlugMemory(specOf({ size: '1GiB', max: '1GiB' })), undefined)
  assert.equal(planPlugMemory(specOf({ size: '1GiB' })), undefined)
})

test('the balloon is told what is left of the memory of the boot, since it knows of no other', () => {
  const plugMemory = { bootBytes: gib, regionBytes: 3 * gib }

  assert.deepEqual(memoryOrders(specOf({ size: '1GiB', target: '256MiB' }), undefined), {
    plugged: undefined,
    balloon: 256 * mib,
  })
  assert.deepEqual(memoryOrders(specOf({ size: '2GiB', max: '4GiB', target: '1536MiB' }), plugMemory), {
    plugged: gib,
    balloon: 512 * mib,
  })
  assert.deepEqual(memoryOrders(specOf({ size: '2GiB', max: '4GiB' }), plugMemory), {
    plugged: gib,
    balloon: gib,
  })
})

test('a size that waits for the next boot is ordered no further than the emulator has room', () => {
  const plugMemory = { bootBytes: gib, regionBytes: gib }

  assert.equal(memoryOrders(specOf({ size: '8GiB', max: '8GiB' }), plugMemory).plugged, gib)
  assert.equal(memoryOrders(specOf({ size: '512MiB', max: '2GiB' }), plugMemory).plugged, 0)
})

test('orders are never beyond what the emulator has', () => {
  const sizes = fc.record({
    size: fc.integer({ min: 64, max: 4096 }),
    extra: fc.integer({ min: 0, max: 4096 }),
    boot: fc.integer({ min: 64, max: 4096 }),
    region: fc.integer({ min: 1, max: 2048 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  fc.assert(
    fc.property(sizes, ({ size, extra, boot, region, share }) => {
      const target = Math.max(64, Math.round(size * share))
      const spec = specOf({ size: size * mib, max: (size + extra) * mib, target: target * mib })
      const plugMemory = { bootBytes: boot * mib, regionBytes: region * 2 * mib }
      const { plugged, balloon } = memoryOrders(spec, plugMemory)
      assert.ok(plugged !== undefined && plugged >= 0 && plugged <= plugMemory.regionBytes)
      assert.equal(plugged % (2 * mib), 0)
      assert.ok(balloon > 0 && balloon <= plugMemory.bootBytes)
    }),
  )
})
