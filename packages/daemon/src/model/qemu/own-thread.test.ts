/** Which disks have an I/O thread. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskSpec, vmSpec } from '@kvasir/contract'
import { ownThread } from './own-thread.ts'

const plain = diskSpec.parse({ name: 'data' })
const spec = vmSpec.parse({ disks: [plain] })

test('a disk that says nothing has a thread of its own under KVM and none under TCG', () => {
  assert.equal(ownThread(plain, { spec, accelerator: 'kvm' }), 'data')
  assert.equal(ownThread(plain, { spec, accelerator: 'tcg' }), undefined)
})

test('what the spec says counts under both', () => {
  for (const accelerator of ['kvm', 'tcg'] as const) {
    const threads = [true, false, 'pair'].map((ioThread) =>
      ownThread({ ...plain, ioThread }, { spec, accelerator }),
    )
    assert.deepEqual(threads, ['data', undefined, 'pair'])
  }
})

test('a VM whose threads are given CPUs has one under TCG too', () => {
  const accelerator = 'tcg'
  const pinned = vmSpec.parse({ disks: [plain], cpu: { pin: { ioThreads: { data: '0' } } } })
  assert.equal(ownThread(plain, { spec: pinned, accelerator }), 'data')
  const placed = vmSpec.parse({ disks: [plain], cpu: { placement: 'dedicated' } })
  assert.equal(ownThread(plain, { spec: placed, accelerator }), 'data')
})
