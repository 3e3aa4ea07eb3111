import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Job, KvasirError } from '@kvasir/contract'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mib = 2 ** 20
const memory = { size: '1GiB', max: '4GiB', floor: '256MiB' }

async function running(daemon: SimulatedDaemon): Promise<void> {
  await daemon.createVm('web1', { memory })
  await daemon.start('web1')
}

function resize(
  daemon: SimulatedDaemon,
  body: { readonly size?: number; readonly target?: number; readonly timeoutSeconds?: number },
  seconds = 5,
): Promise<Job> {
  return daemon.call('resizeVmMemory', {
    params: { name: 'web1' },
    query: { wait: seconds },
    body: { timeoutSeconds: 60, ...body },
  })
}

async function specMemory(daemon: SimulatedDaemon) {
  return (await daemon.vm('web1')).spec.memory
}

test('a balloon is filled and emptied, and the spec keeps its target', async () => {
  await using daemon = await openSimulatedDaemon()
  await running(daemon)

  assert.equal((await resize(daemon, { target: 512 * mib })).state, 'succeeded')
  assert.equal(daemon.process('web1').balloonBytes, 512 * mib)
  assert.equal((await specMemory(daemon)).target, 512 * mib)
  assert.deepEqual((await daemon.vm('web1')).status.restartNeeded, [])

  assert.equal((await resize(daemon, { target: 1024 * mib })).state, 'succeeded')
  assert.equal(daemon.process('web1').balloonBytes, 1024 * mib)
  assert.equal((await specMemory(daemon)).target, undefined)
})

test('memory is plugged and unplugged', async () => {
  await using daemon = await openSimulatedDaemon()
  await running(daemon)

  assert.equal((await resize(daemon, { size: 3 * 1024 * mib })).state, 'succeeded')
  assert.equal(daemon.process('web1').pluggedBytes, 2048 * mib)
  assert.equal((await resize(daemon, { size: 1024 * mib })).state, 'succeeded')
  assert.equal(daemon.process('web1').pluggedBytes, 0)
})

test('what is below the floor, above the maximum or not possible while it runs is refused, and nothing changes', async () => {
  await using daemon = await openSimulatedDaemon()
  await running(daemon)
  const before = await daemon.vm('web1')
  const refusals: readonly [Parameters<typeof resize>[1], RegExp][] = [
    [{ target: 128 * mib }, /keeps 1 GiB: memory.target is below the floor of 256 MiB/],
    [{ target: 2048 * mib }, /memory.target is more than the size, 1 GiB/],
    [{ size: 8192 * mib }, /memory.max is less than the size, 8 GiB/],
    [{ size: 512 * mib }, /the 1 GiB that it booted with are not unplugged/],
  ]

  for (const [body, sentence] of refusals)
    await assert.rejects(resize(daemon, body), (error: unknown) => {
      assert.ok(error instanceof KvasirError && error.code === 'plan-refused', String(error))
      assert.match(error.message, sentence)
      return true
    })

  assert.deepEqual((await daemon.vm('web1')).spec, before.spec)
  assert.equal(daemon.process('web1').balloonBytes, 1024 * mib)
})

test('a guest that releases less is told of, with how far it came', async () => {
  await using daemon = await openSimulatedDaemon()
  await running(daemon)
  daemon.process('web1').keepsBytes = 768 * mib

  const begun = await resize(daemon, { target: 512 * mib, timeoutSeconds: 60 }, 0)
  await eventually(() => daemon.process('web1').balloonBytes === 768 * mib, 'the guest gave what it gives')
  daemon.skip(61_000)
  const job = await daemon.call('getJob', { params: { id: begun.id }, query: { wait: 5 } })

  assert.equal(job.state, 'failed')
  assert.equal(job.error?.code, 'guest-refused')
  assert.match(
    job.error?.detail ?? '',
    /the guest of VM web1 gave up 256 MiB of 512 MiB; it goes on being asked/,
  )
  assert.deepEqual(job.error?.details?.['reachedBytes'], 768 * mib)
  assert.equal((await specMemory(daemon)).target, 512 * mib)
})

test('of two clients the later one is followed, and the former is told', async () => {
  await using daemon = await openSimulatedDaemon()
  await running(daemon)
  daemon.process('web1').keepsBytes = 600 * mib

  const former = await resize(daemon, { target: 512 * mib }, 0)
  const later = await resize(daemon, { target: 700 * mib })

  assert.equal(later.state, 'succeeded')
  const ended = await daemon.call('getJob', { params: { id: former.id }, query: { wait: 5 } })
  assert.equal(ended.state, 'cancelled')
  assert.match(ended.error?.detail ?? '', /meanwhile asked for another amount/)
})

test('a VM that is off is not waited for, and one that ends ends the wait', async () => {
  await using daemon = await openSimulatedDaemon()
  await daemon.createVm('web1', { memory })
  await assert.rejects(resize(daemon, { target: 512 * mib }), { code: 'wrong-state' })

  await daemon.start('web1')
  daemon.process('web1').keepsBytes = 1024 * mib
  const job = await resize(daemon, { target: 512 * mib }, 0)
  await daemon.call('powerOffVm', { params: { name: 'web1' } })

  const ended = await daemon.call('getJob', { params: { id: job.id }, query: { wait: 5 } })
  assert.equal(ended.error?.code, 'wrong-state')
})

test('target and plugged memory outlive the guest, its save and its restart as the spec says', async () => {
  await using daemon = await openSimulatedDaemon()
  await running(daemon)
  await resize(daemon, { size: 2048 * mib })
  await resize(daemon, { target: 1536 * mib })
  const { balloonBytes } = daemon.process('web1')
  assert.equal(balloonBytes, 512 * mib)

  await daemon.call('saveVm', { params: { name: 'web1' }, query: { wait: 5 } })
  await daemon.start('web1')
  assert.equal(
    daemon.process('web1').request.memoryBytes,
    1024 * mib,
    'saved memory is loaded into what it fits',
  )
  assert.equal(daemon.process('web1').requestedBytes, 1024 * mib)

  await daemon.call('powerOffVm', { params: { name: 'web1' } })
  await daemon.start('web1')
  assert.equal(daemon.process('web1').request.memoryBytes, 2048 * mib, 'a cold start boots with all of it')
  assert.equal(daemon.process('web1').requestedBytes, 0)
})

test('a daemon that dies between the row and the emulator is followed by one that tells it', async () => {
  const armed = { on: false }
  await using daemon = await openSimulatedDaemon({
    failpoint: async (name) => {
      if (armed.on && name === 'vm.change.after-row') throw new Error('the daemon died here')
    },
  })
  await running(daemon)
  armed.on = true
  await resize(daemon, { size: 2048 * mib }).catch(() => {})
  assert.equal(daemon.process('web1').requestedBytes, 0)

  await using next = await daemon.killAndFollow()

  assert.equal(next.process('web1').requestedBytes, 1024 * mib)
  assert.equal((await next.vm('web1')).spec.memory.size, 2048 * mib)
})

test('a size that waits for the next boot changes nothing of what the balloon leaves', async () => {
  await using daemon = await openSimulatedDaemon()
  const { spec } = await daemon.createVm('web1', { memory: { size: '1GiB' } })
  await daemon.start('web1')
  const wanted = { ...spec, memory: { ...spec.memory, size: 2048 * mib } }
  await daemon.call('applyVm', { params: { name: 'web1' }, body: { spec: wanted } })

  assert.equal((await resize(daemon, { target: 512 * mib })).state, 'succeeded')

  assert.equal(daemon.process('web1').balloonBytes, 512 * mib)
  const { status } = await daemon.vm('web1')
  assert.deepEqual(status.restartNeeded, ['memory.size'])
  assert.equal(status.memory?.bootBytes, 1024 * mib)
})

test('limits are set while it runs, and one that would kill the VM is refused', async () => {
  await using daemon = await openSimulatedDaemon()
  const { spec, uuid } = await daemon.createVm('web1', { memory: { size: '1GiB' } })
  await daemon.start('web1')
  const limit = (limits: Readonly<Record<string, number>>) =>
    daemon.call('applyVm', {
      params: { name: 'web1' },
      body: { spec: { ...spec, memory: { ...spec.memory, ...limits } } },
    })

  await limit({ high: 900 * mib, hard: 1200 * mib, swap: 0 })
  assert.deepEqual(daemon.machine.memoryLimits.get(uuid), { high: 900 * mib, hard: 1200 * mib, swap: 0 })

  const low = { ...spec, memory: { ...spec.memory, high: 900 * mib, hard: 200 * mib, swap: 0 } }
  const plan = await daemon.call('planVm', { params: { name: 'web1' }, body: { spec: low } })
  assert.equal(plan.action, 'refused')
  assert.deepEqual(
    plan.changes.map(({ field, effect }) => `${field} ${effect}`),
    ['memory.hard refused'],
  )
  assert.match(
    plan.changes[0]?.reason ?? '',
    /^it holds 256 MiB now, .* to keep it within 200 MiB; take memory/,
  )
  await assert.rejects(limit({ hard: 200 * mib }), (error: unknown) => {
    assert.ok(error instanceof KvasirError && error.code === 'plan-refused')
    assert.match(
      error.message,
      /^VM web1 keeps its spec: memory.hard cannot change, because it holds 256 MiB now, so the kernel would kill it/,
    )
    return true
  })
  assert.equal((await specMemory(daemon)).hard, 1200 * mib)
})
