/** Creates with an idempotency key, and daemons that die in the middle of them: repeated, they give the one thing they were to make. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Job } from '@kvasir/contract'
import type { Failpoints } from '../ports/failpoints.ts'
import { openSimulatedDaemon } from '../testing/simulated-daemon.ts'
import { startApi } from './testing/running-api.ts'
import { type SimulatedApi, startSimulatedApi } from './testing/simulated-api.ts'

interface Create {
  readonly what: string
  readonly method: 'POST' | 'PUT'
  readonly path: string
  readonly body: unknown
  readonly otherBody: unknown
  /** All things of its kind, each with what tells it apart from a twin. */
  readonly list: string
  readonly identity: string
  readonly prepare?: (daemon: SimulatedApi) => Promise<unknown>
}

const disks = [{ name: 'root', size: '1GiB' }]
const vms = { list: '/v1/vms', identity: 'uuid' }
const makeSource = (daemon: SimulatedApi) => daemon.post(201, '/v1/vms', { name: 'source', spec: { disks } })

const creates: readonly Create[] = [
  {
    what: 'a VM',
    method: 'POST',
    path: '/v1/vms',
    body: { name: 'web1', spec: { disks } },
    otherBody: { name: 'web1', spec: {} },
    ...vms,
  },
  {
    what: 'a VM that is applied',
    method: 'PUT',
    path: '/v1/vms/web1',
    body: { spec: { disks } },
    otherBody: { spec: {} },
    ...vms,
  },
  {
    what: 'a clone',
    method: 'POST',
    path: '/v1/vms/source/clone',
    body: { name: 'web1', mode: 'linked' },
    otherBody: { name: 'web2', mode: 'linked' },
    ...vms,
    prepare: makeSource,
  },
  {
    what: 'a volume',
    method: 'POST',
    path: '/v1/pools/default/volumes',
    body: { name: 'data', size: '1GiB' },
    otherBody: { name: 'data', size: '2GiB' },
    list: '/v1/volumes',
    identity: 'createdAt',
  },
  {
    what: 'an image that is imported',
    method: 'POST',
    path: '/v1/images/import',
    body: { path: '/x.qcow2', name: 'x' },
    otherBody: { path: '/y.qcow2', name: 'x' },
    list: '/v1/images',
    identity: 'id',
  },
]

for (const create of creates) {
  test(`${create.what} is made once, wherever the daemon dies, when it is asked for again with its key`, async () => {
    const points = await pointsOf(create)
    assert.ok(points.length >= 2, points.join())

    for (const point of points) await dieAt(point, create)
  })
}

test('a VM that was to be started at once is started by the daemon after the one that died', async () => {
  const first = await openSimulatedDaemon({ failpoint: hangsAt('vm.create.after-ready') })
  const serving = await startSimulatedApi(first)
  const body = { name: 'web1', spec: {}, start: true }
  serving.post(201, '/v1/vms', body, { 'idempotency-key': 'k1' }).catch(() => {})
  await has(serving, { list: '/v1/vms', count: 1 })
  const made = await serving.vm('web1')
  await serving.api[Symbol.asyncDispose]()
  await using second = await startSimulatedApi(await first.killAndFollow())

  const again = await second.post(201, '/v1/vms', body, { 'idempotency-key': 'k1' })

  assert.equal((again.json as { uuid: string }).uuid, made.uuid)
  for (let waited = 0; (await second.vm('web1')).status.state !== 'running'; waited++) assert.ok(waited < 200)
})

test('a start that is refused right after the creation is not tried again by the next daemon', async () => {
  const first = await startSimulatedApi()
  const { context } = first.daemon
  await first.post(201, '/v1/vms', { name: 'web1', spec: { accelerator: 'kvm' }, start: true })
  const driver = context.drivers.find('web1')
  for (let waited = 0; driver.view().record.intent !== 'none'; waited++) {
    assert.ok(waited < 200, 'It is not to be started any more.')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await first.api[Symbol.asyncDispose]()

  await using second = await first.killAndFollow()

  assert.equal((await second.vm('web1')).status.state, 'shutoff')
})

test('an answer that cannot be kept with what it tells of undoes that', async () => {
  await using simulated = await openSimulatedDaemon()
  const { daemon } = simulated
  const idempotency = {
    find: () => undefined,
    remember: () => {
      throw new Error('There is no space.')
    },
  }
  await using api = await startApi({ handlers: daemon.handlers, idempotency })

  const answer = await api.send('/v1/vms', {
    method: 'POST',
    body: { name: 'web1', spec: { disks } },
    headers: { 'idempotency-key': 'k1' },
  })

  assert.equal(answer.status, 500)
  assert.deepEqual(daemon.context.ports.store.vms.list(), [])
  assert.deepEqual(daemon.context.ports.store.volumes.list(), [])
})

/** A failpoint at which whatever comes there waits for ever: the daemon is as good as dead. */
function hangsAt(wanted: string): Failpoints {
  return async (name) => {
    if (name === wanted) await new Promise(() => {})
  }
}

/** The failpoints that a create reaches. */
async function pointsOf(create: Create): Promise<readonly string[]> {
  const reached: string[] = []
  await using daemon = await startSimulatedApi(
    await openSimulatedDaemon({ failpoint: async (name) => void reached.push(name) }),
  )
  await create.prepare?.(daemon)
  reached.length = 0
  await askAndWait(daemon, create)
  return reached
}

async function dieAt(point: string, create: Create): Promise<void> {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>()
  const hang = hangsAt(point)
  let isArmed = false
  const failpoint: Failpoints = async (name) => {
    if (!isArmed) return
    if (name === point) arrive()
    await hang(name)
  }
  const first = await openSimulatedDaemon({ failpoint })
  const serving = await startSimulatedApi(first)
  await create.prepare?.(serving)
  isArmed = true
  ask(serving, create).catch(() => {})
  await arrived
  await serving.api[Symbol.asyncDispose]()

  await using second = await startSimulatedApi(await first.killAndFollow())
  const before = await identities(second, create)
  await askAndWait(second, create)
  const after = await identities(second, create)
  const other = await second.api.send(create.path, {
    method: create.method,
    body: create.otherBody,
    headers: { 'idempotency-key': 'k1' },
  })

  assert.ok(before.isSubsetOf(after), `${point}: what was made is what there is.`)
  assert.equal(after.size, create.prepare && create.list === '/v1/vms' ? 2 : 1, point)
  assert.equal(other.status, 422, `${point}: ${other.text}`)
  const audit = (await second.expect(200, '/v1/audit')).json
  assert.deepEqual((audit as { entries: unknown }).entries, [], point)
}

async function identities(daemon: SimulatedApi, { list, identity }: Create): Promise<ReadonlySet<unknown>> {
  const all = (await daemon.expect(200, list)).json as readonly Record<string, unknown>[]
  return new Set(all.map((thing) => thing[identity]))
}

async function has(
  daemon: SimulatedApi,
  { list, count }: { readonly list: string; readonly count: number },
): Promise<void> {
  for (let waited = 0; ; waited++) {
    if (((await daemon.expect(200, list)).json as readonly unknown[]).length === count) return
    assert.ok(waited < 200, `There are ${count} of ${list}.`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

function ask(daemon: SimulatedApi, { method, path, body }: Create) {
  return daemon.api.send(path, { method, body, headers: { 'idempotency-key': 'k1' } })
}

async function askAndWait(daemon: SimulatedApi, create: Create): Promise<void> {
  const answer = await ask(daemon, create)
  assert.ok(answer.status < 300, answer.text)
  if (answer.status !== 202) return
  const { id } = answer.json as Job
  const job = (await daemon.expect(200, `/v1/jobs/${id}?wait=5`)).json as Job
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
}
