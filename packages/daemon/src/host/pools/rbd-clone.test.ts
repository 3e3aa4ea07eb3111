/** What a slow cluster does to a clone: commands that end late have been carried out all the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { CephRefused, cephErrors } from './ceph-tools.ts'
import { type CloneHands, makeClone } from './rbd-clone.ts'

const pair = { name: 'copy', origin: 'first' }

/** Two images on a cluster, and what each attempt to clone comes to: undefined for what goes well. */
class SlowCluster implements CloneHands {
  kept: boolean
  image: 'none' | 'partial' | 'whole' = 'none'
  readonly done: string[] = []
  readonly #clones: (() => void)[]

  constructor(kept: boolean, clones: readonly ((cluster: SlowCluster) => void)[]) {
    this.kept = kept
    this.#clones = clones.map((one) => () => one(this))
  }

  async isKept() {
    return this.kept
  }

  async copy() {
    return this.image
  }

  async keep() {
    this.done.push('keep')
    this.kept = true
  }

  async clone() {
    this.done.push('clone')
    const attempt = this.#clones.shift()
    if (attempt) attempt()
    else this.image = 'whole'
  }

  async remove() {
    this.done.push('remove')
    this.image = 'none'
  }

  async letGo() {
    this.kept = false
  }
}

const refuse = (number: number, words: string) => {
  throw new KvasirError('host-failed', words, { cause: new CephRefused(number, words) })
}

test('a clone that ended as if nothing had come of it, and was made after all, is the clone', async () => {
  const cluster = new SlowCluster(true, [
    (its) => {
      its.image = 'whole'
      refuse(cephErrors.exists, 'clone error: File exists')
    },
  ])

  await makeClone(pair, cluster)

  assert.deepEqual(cluster.done, ['clone'])
  assert.equal(cluster.kept, false)
})

test('a clone that lacked what a slow cluster had not shown yet is tried once more, without half of the first', async () => {
  const cluster = new SlowCluster(false, [
    (its) => {
      its.image = 'partial'
      refuse(cephErrors.missing, 'clone error: No such file')
    },
  ])

  await makeClone(pair, cluster)

  assert.deepEqual(cluster.done, ['keep', 'clone', 'remove', 'clone'])
  assert.equal(cluster.image, 'whole')
  assert.equal(cluster.kept, false)
})

test('a clone that never comes to be says what Ceph said, and keeps nothing but what was kept before', async () => {
  const never = () => refuse(cephErrors.missing, 'clone error: No such file')
  for (const kept of [false, true]) {
    const cluster = new SlowCluster(kept, [never, never, never, never, never])
    await assert.rejects(makeClone(pair, cluster), { code: 'host-failed', message: /No such file/ })
    assert.equal(cluster.kept, kept)
  }
})

test('what else Ceph refuses is not tried again', async () => {
  const cluster = new SlowCluster(false, [() => refuse(cephErrors.busy, 'busy')])
  await assert.rejects(makeClone(pair, cluster), { code: 'host-failed' })
  assert.deepEqual(cluster.done, ['keep', 'clone'])
})
