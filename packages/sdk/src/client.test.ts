import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { createClient } from './client.ts'
import { startScriptedDaemon } from './testing/scripted-daemon.ts'
import { waitForJob } from './wait-for-job.ts'

const status = {
  version: '0.1.0',
  pid: 1,
  startedAt: '2026-01-01T00:00:00Z',
  healthy: true,
  problems: [],
  accelerator: { kind: 'tcg', reason: 'there is no /dev/kvm' },
  vms: {},
  images: 0,
  jobsRunning: 0,
  lastEventSeq: 0,
} as const

const job = {
  id: '0190a2b0-0000-7000-8000-000000000001',
  kind: 'vm.start',
  subject: { kind: 'vm', name: 'web1' },
  state: 'running',
  owner: 'root',
  step: 'starting the emulator',
  createdAt: '2026-01-01T00:00:00Z',
  deadlineAt: '2099-01-01T00:00:00Z',
} as const

function refusal(code: string) {
  return (error: unknown): boolean => error instanceof KvasirError && error.code === code
}

test('an answer is parsed by the schema of its endpoint', async () => {
  await using daemon = await startScriptedDaemon({ request: () => ({ json: status }) })
  const client = createClient({ url: daemon.url })

  assert.equal((await client.call(endpoints.getStatus)).accelerator.kind, 'tcg')
})

test('an answer that breaks the contract is a defect that names the place', async () => {
  await using daemon = await startScriptedDaemon({ request: () => ({ json: { ...status, pid: 'one' } }) })
  const client = createClient({ socketPath: daemon.socketPath })

  await assert.rejects(client.call(endpoints.getStatus), /getStatus is not what the contract says at pid/)
  assert.equal((await client.call(routes.getStatus)).version, '0.1.0')
})

test('names are escaped into one segment of the path', async () => {
  await using daemon = await startScriptedDaemon({
    request: ({ path }) => ({ refuse: 'vm-not-found', sentence: `There is no ${path}.` }),
  })
  const client = createClient({ url: daemon.url })

  await assert.rejects(client.call(routes.getVm, { params: { name: 'a/../b?x=ü' } }), refusal('vm-not-found'))
  assert.equal(daemon.asked[0]?.path, '/v1/vms/a/../b?x=ü')
  for (const name of ['', '.', '..']) {
    await assert.rejects(client.call(routes.getVm, { params: { name } }), refusal('bad-request'))
  }
  assert.equal(daemon.asked.length, 1)
})

test('keys, revisions, queries and bodies travel where the API takes them', async () => {
  await using daemon = await startScriptedDaemon({ request: () => ({ status: 202, json: job }) })
  const client = createClient({ url: daemon.url, token: 'secret' })

  await client.call(endpoints.shutdownVm, {
    params: { name: 'web1' },
    query: { wait: 2 },
    body: { escalate: true },
    idempotencyKey: 'k1',
    ifMatch: 7,
  })

  const [asked] = daemon.asked
  assert.equal(asked?.query.get('wait'), '2')
  assert.deepEqual(asked?.body, { escalate: true })
  assert.equal(asked?.headers['idempotency-key'], 'k1')
  assert.equal(asked?.headers['if-match'], '"7"')
  assert.equal(asked?.headers['authorization'], 'Bearer secret')
})

test('a problem document becomes its error, with details', async () => {
  const problem = new KvasirError('wrong-state', 'VM web1 is running, so it cannot be started.', {
    details: { state: 'running' },
  }).toProblem()
  await using daemon = await startScriptedDaemon({ request: () => ({ status: 409, json: problem }) })
  const client = createClient({ url: daemon.url })

  await assert.rejects(client.call(routes.startVm, { params: { name: 'web1' } }), (error) => {
    assert.ok(error instanceof KvasirError)
    assert.equal(error.code, 'wrong-state')
    assert.equal(error.message, 'VM web1 is running, so it cannot be started.')
    assert.deepEqual(error.details, { state: 'running' })
    return true
  })
})

test('a code of a newer daemon keeps its sentence', async () => {
  await using daemon = await startScriptedDaemon({
    request: () => ({ status: 409, json: { code: 'quantum', detail: 'The cat is both.' } }),
  })
  await assert.rejects(createClient({ url: daemon.url }).call(routes.listVms), (error) => {
    assert.ok(error instanceof KvasirError)
    assert.equal(error.message, 'The cat is both.')
    assert.equal(error.details['code'], 'quantum')
    return true
  })
})

test('no daemon, a cut answer, a silent daemon and another server are all unreachable', async () => {
  await assert.rejects(
    createClient({ socketPath: '/nonexistent/k.sock' }).call(routes.listVms),
    (error) => refusal('unreachable')(error) && /kvasir daemon/.test(String(error)),
  )
  for (const reply of [
    { cut: true },
    { hang: true },
    { status: 502, bytes: Buffer.from('<html>'), type: 'text/html' },
  ] as const) {
    await using daemon = await startScriptedDaemon({ request: () => reply })
    await assert.rejects(
      createClient({ url: daemon.url }).call(routes.listVms, { timeoutMs: 100 }),
      refusal('unreachable'),
    )
  }
})

test('a call ends when its signal aborts', async () => {
  await using daemon = await startScriptedDaemon({ request: () => ({ hang: true }) })
  const signal = AbortSignal.timeout(50)
  await assert.rejects(createClient({ url: daemon.url }).call(routes.listVms, { signal }), {
    name: 'TimeoutError',
  })
})

test('a job is followed until it ends, and its failure is thrown', async () => {
  const error = new KvasirError('emulator-failed', 'The emulator of web1 ended at once.').toProblem()
  let questions = 0
  await using daemon = await startScriptedDaemon({
    request: () => ({ json: ++questions < 3 ? job : { ...job, state: 'failed', error } }),
  })
  const seen: string[] = []

  await assert.rejects(
    waitForJob(createClient({ url: daemon.url }), job, { onProgress: (at) => seen.push(at.state) }),
    refusal('emulator-failed'),
  )
  assert.deepEqual(seen, ['running', 'running', 'running', 'failed'])
})

test('bytes and texts come as they are', async () => {
  await using daemon = await startScriptedDaemon({
    request: ({ path }) =>
      path.endsWith('log')
        ? { bytes: Buffer.from('login: '), type: 'text/plain' }
        : { bytes: Buffer.from([137, 80]), type: 'image/png' },
  })
  const client = createClient({ url: daemon.url })

  assert.equal(await client.call(endpoints.logVm, { params: { name: 'a' } }), 'login: ')
  assert.deepEqual([...(await client.call(endpoints.screenshotVm, { params: { name: 'a' } }))], [137, 80])
})

test('many reads share few connections', async () => {
  await using daemon = await startScriptedDaemon({ request: () => ({ json: [] }) })
  const client = createClient({ url: daemon.url })
  for (let i = 0; i < 20; i++) assert.deepEqual(await client.call(routes.listVms), [])
  client.close()

  assert.equal(daemon.connectionsMade(), 1)
})
