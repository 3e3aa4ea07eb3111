/** The API over the real services and store, on the simulated machine; every answer is checked against the contract. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Event, Job } from '@kvasir/contract'
import { eventually } from '../testing/simulated-daemon.ts'
import { bytesOf } from './streams/bytes-of.ts'
import type { Answered } from './testing/running-api.ts'
import { startSimulatedApi } from './testing/simulated-api.ts'

test('the life of a VM from an image to its deletion, through the API', async () => {
  await using daemon = await startSimulatedApi()
  const { post, expect, vm } = daemon
  const ended = async (answer: Promise<Answered>) => {
    const job = (await answer).json as Job
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  }

  await ended(post(202, '/v1/images/build?wait=10', { recipe: 'tiny' }))
  await ended(post(202, '/v1/images/import?wait=10', { path: '/x.qcow2', name: 'debian' }))
  await expect(200, '/v1/images')
  await expect(200, '/v1/images/tiny')
  const spec = { image: 'debian', memory: { size: '256MiB' }, disks: [{ name: 'root', image: 'debian' }] }
  await post(201, '/v1/vms', { name: 'web1', spec })
  await ended(post(202, '/v1/vms/web1/start?wait=10'))
  assert.equal((await vm('web1')).status.state, 'running')
  await post(200, '/v1/vms/web1/pause')
  await post(200, '/v1/vms/web1/resume')
  await post(200, '/v1/vms/web1/reset')
  await eventually(() => daemon.process('web1').agentConnected, 'the agent is back after the reset')
  const echo = await post(200, '/v1/vms/web1/exec', { command: ['echo', 'hello'] })
  assert.equal((echo.json as { stdout: string }).stdout, 'hello\n')
  await expect(200, '/v1/vms/web1/screenshot')
  assert.match((await expect(200, '/v1/vms/web1/log')).text, /simulated guest/)
  await ended(post(202, '/v1/vms/web1/reboot?wait=10'))
  await ended(post(202, '/v1/vms/web1/save?wait=10'))
  assert.equal((await vm('web1')).status.state, 'saved')
  await ended(post(202, '/v1/vms/web1/start?wait=10'))
  await ended(post(202, '/v1/vms/web1/shutdown?wait=10'))
  assert.equal((await vm('web1')).status.state, 'shutoff')
  await ended(post(202, '/v1/vms/web1/clone?wait=10', { name: 'web2' }))
  await post(200, '/v1/vms/web2/rename', { name: 'web3' })
  for (const path of ['/v1/status', '/v1/host', '/v1/volumes', '/v1/jobs', '/v1/events', '/v1/vms'])
    await expect(200, path)
  assert.match((await expect(200, '/metrics')).text, /libvirt_up 1/)

  await expect(204, '/v1/vms/web3?disks=true', { method: 'DELETE' })
  await expect(204, '/v1/vms/web1?disks=true', { method: 'DELETE' })

  assert.deepEqual((await expect(200, '/v1/vms')).json, [])
  assert.equal(((await expect(200, '/v1/audit')).json as { clean: boolean }).clean, true)
  assert.deepEqual(
    daemon.api.logged.filter(({ level }) => level === 'error'),
    [],
  )
})

test('of two clients editing the same revision, one is told that it has changed', async () => {
  await using daemon = await startSimulatedApi()
  await daemon.post(201, '/v1/vms', { name: 'web1', spec: {} })
  const etag = (await daemon.expect(200, '/v1/vms/web1')).headers['etag'] ?? ''
  const edit = (description: string) =>
    daemon.api.send('/v1/vms/web1', {
      method: 'PUT',
      body: { spec: { description } },
      headers: { 'if-match': etag },
    })

  const answers = await Promise.all([edit('one'), edit('two')])

  assert.deepEqual(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 412],
  )
  const now = await daemon.expect(200, '/v1/vms/web1')
  assert.equal(answers.find(({ status }) => status === 200)?.headers['etag'], now.headers['etag'])
  assert.notEqual(now.headers['etag'], etag)
})

test('twenty creates with one key make one VM, and twenty without make one and nineteen refusals', async () => {
  await using daemon = await startSimulatedApi()
  const create = (name: string, headers: Record<string, string>) =>
    daemon.api.send('/v1/vms', { method: 'POST', body: { name, spec: {} }, headers })

  const keyed = await Promise.all(
    Array.from({ length: 20 }, () => create('keyed', { 'idempotency-key': 'k' })),
  )
  const bare = await Promise.all(Array.from({ length: 20 }, () => create('bare', {})))

  assert.deepEqual([...new Set(keyed.map(({ status }) => status))], [201])
  assert.equal(bare.filter(({ status }) => status === 201).length, 1)
  assert.equal(bare.filter(({ status }) => status === 409).length, 19)
})

test('two clients that start, stop and delete one VM at once get answers, and nothing is left over', async () => {
  await using daemon = await startSimulatedApi()
  await daemon.post(201, '/v1/vms', { name: 'web1', spec: {} })
  const actions: readonly [string, string][] = [
    ['POST', '/v1/vms/web1/start?wait=5'],
    ['POST', '/v1/vms/web1/power-off'],
    ['POST', '/v1/vms/web1/pause'],
    ['POST', '/v1/vms/web1/resume'],
    ['DELETE', '/v1/vms/web1'],
  ]

  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, index) => {
      const [method, path] = actions[(index * 7) % 5] ?? ['GET', '/v1/vms']
      return daemon.api.send(path, { method, body: {} })
    }),
  )

  for (const { status, text } of answers) assert.ok(status < 500, text)
  const audit = (await daemon.expect(200, '/v1/audit')).json as { clean: boolean; entries: unknown }
  assert.equal(audit.clean, true, JSON.stringify(audit.entries))
})

test('a guest that powers itself off shows it in the list, the stream and its console within a second', async () => {
  await using daemon = await startSimulatedApi()
  await daemon.post(201, '/v1/vms', { name: 'web1', spec: {}, start: true })
  for (let waited = 0; (await daemon.vm('web1')).status.state !== 'running'; waited++) assert.ok(waited < 200)
  const { json } = await daemon.post(201, '/v1/vms/web1/console', {})
  const console = daemon.api.openSocket((json as { url: string }).url)
  const events = daemon.api.openSocket('/v1/events/stream')
  await Promise.all([once(console, 'open'), once(events, 'open')])
  const told: string[] = []
  events.on('message', (data) => {
    const event: Event = JSON.parse(bytesOf(data).toString())
    if (event.kind === 'vm.state') told.push(String(event.data['state']))
  })
  const closed = once(console, 'close')

  daemon.process('web1').guestPowersOff()

  const [code] = await closed
  assert.equal(code, 1000)
  assert.equal((await daemon.vm('web1')).status.state, 'shutoff')
  for (let waited = 0; !told.includes('shutoff') && waited < 1_000; waited += 10)
    await new Promise((resolve) => setTimeout(resolve, 10))
  assert.ok(told.includes('shutoff'), told.join())
  events.terminate()
})

test('no ticket can be read anywhere after it was given out', async () => {
  await using daemon = await startSimulatedApi()
  await daemon.post(201, '/v1/vms', { name: 'web1', spec: {} })
  await daemon.post(202, '/v1/vms/web1/start?wait=5')
  const { ticket } = (await daemon.post(201, '/v1/vms/web1/console', {})).json as { ticket: string }

  const paths = ['/v1/vms', '/v1/vms/web1', '/v1/events', '/v1/jobs', '/v1/status', '/v1/audit', '/metrics']
  for (const path of paths) assert.ok(!(await daemon.expect(200, path)).text.includes(ticket), path)
})

test('events are listed from a number that is kept, and refused from one that never was', async () => {
  await using daemon = await startSimulatedApi()
  await daemon.post(201, '/v1/vms', { name: 'web1', spec: {} })
  const all = (await daemon.expect(200, '/v1/events')).json as Event[]

  const rest = (await daemon.expect(200, `/v1/events?after=${all[0]?.seq}`)).json as Event[]
  const gone = await daemon.expect(410, '/v1/events?after=1000000')

  assert.deepEqual(rest, all.slice(1))
  assert.equal((gone.json as { code: string }).code, 'events-gone')
})
