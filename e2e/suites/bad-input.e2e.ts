/** What is asked wrongly is refused with a sentence that says what is wrong, by the API and by the command line; nothing changes. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { endpoints, streams } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { sendBytes, sendRaw } from '../machine/raw-http.ts'
import { openWorld, tinySpec, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

const badNames = [
  '',
  'a/b',
  '../../etc/passwd',
  '..',
  '.',
  '-rf',
  'a b',
  'a\0b',
  'a\nb',
  'é',
  '$(reboot)',
  'x'.repeat(10_000),
]

test('names that are none are refused wherever they are given', { skip }, async (t) => {
  await using world = await openWorld(t)
  const { place } = world
  for (const name of badNames) {
    const what = JSON.stringify(name.slice(0, 40))
    const created = await sendRaw(place, {
      method: 'POST',
      path: '/v1/vms',
      body: { name, spec: tinySpec() },
    })
    assert.deepEqual(
      [created.status, created.code],
      [400, 'bad-request'],
      `create ${what}: ${created.detail}`,
    )
    assert.ok(created.detail.length < 1_000, `The refusal of ${what} is short.`)

    const shown = await sendRaw(place, { method: 'GET', path: `/v1/vms/${encodeURIComponent(name)}x/../..` })
    assert.ok(shown.status >= 400 && shown.status < 500, `show ${what}: ${shown.status}`)
    if (name.includes('\0') || name === '') continue
    const cli = await world.cli('vm', 'create', '--image', 'tiny', '--', name)
    assert.ok(
      cli.code === 1 || cli.code === 2,
      `kvasir vm create ${what} ended with ${cli.code}: ${cli.stderr}`,
    )
    assert.ok(cli.stderr.length > 10 && cli.stderr.length < 2_000)
    assert.doesNotMatch(cli.stderr, /\n\s+at /)
  }
  assert.deepEqual(await world.client.call(endpoints.listVms), [])
})

const badSizes = [
  -1,
  0,
  1.5,
  1e30,
  '-1GiB',
  '9999999PiB',
  'lots',
  '',
  '1e9',
  'NaN',
  null,
  true,
  [],
  {},
  '15MiB',
  2 ** 53,
]

test('sizes that are none are refused, and the refusal names the field', { skip }, async (t) => {
  await using world = await openWorld(t)
  for (const size of badSizes) {
    const spec = { image: 'tiny', memory: { size } }
    const { status, code, detail } = await sendRaw(world.place, {
      method: 'POST',
      path: '/v1/vms',
      body: { name: 'web1', spec },
    })
    assert.deepEqual([status, code], [400, 'bad-request'], `${JSON.stringify(size)}: ${detail}`)
    assert.match(detail, /memory\.size/, JSON.stringify(size))
  }
  const cli = await world.cli('vm', 'create', 'web1', '--image', 'tiny', '--memory', 'lots')
  assert.equal(cli.code, 2)
  assert.match(cli.stderr, /lots|memory/)
  assert.deepEqual(await world.client.call(endpoints.listVms), [])
})

test('keys that nobody knows are named', { skip }, async (t) => {
  await using world = await openWorld(t)
  const bodies: readonly (readonly [string, unknown])[] = [
    ['colour', { name: 'web1', spec: { image: 'tiny', colour: 'red' } }],
    ['cuont', { name: 'web1', spec: { image: 'tiny', cpu: { cuont: 2 } } }],
    ['begin', { name: 'web1', spec: { image: 'tiny' }, begin: true }],
    ['__proto__', JSON.parse('{"name":"web1","spec":{"image":"tiny","__proto__":{"x":1}}}')],
  ]
  for (const [key, body] of bodies) {
    const { status, detail } = await sendRaw(world.place, { method: 'POST', path: '/v1/vms', body })
    assert.equal(status, 400)
    assert.ok(detail.includes(key), `${key} is named: ${detail}`)
  }
  const query = await sendRaw(world.place, { method: 'GET', path: '/v1/events?since=1' })
  assert.equal(query.status, 400)
  assert.match(query.detail, /since/)
})

test('what a VM needs and the host has not is said before anything is made', { skip }, async (t) => {
  await using world = await openWorld(t)
  const create = (spec: Parameters<typeof tinySpec>[0]) =>
    world.client.call(endpoints.createVm, { body: { name: 'web1', spec: tinySpec(spec) } })
  const { memory } = await world.client.call(endpoints.getHost)
  const tooMuch = Math.ceil(memory.totalBytes / 2 ** 20 + 1) * 2 ** 20

  await assert.rejects(create({ image: 'nowhere' }), { code: 'image-not-found' })
  await assert.rejects(create({ memory: { size: tooMuch } }), { code: 'not-enough-memory' })
  await assert.rejects(
    world.client.call(endpoints.createVm, {
      body: { name: 'web1', spec: { boot: { kernel: { kernel: '/nonexistent/vmlinuz' } } } },
    }),
    { code: 'file-not-found' },
  )
  await assert.rejects(create({ disks: [{ name: 'data', volume: 'nowhere' }] }), { code: 'volume-not-found' })
  await assert.rejects(
    create({
      disks: [
        { name: 'a', size: '1GiB' },
        { name: 'a', size: '1GiB' },
      ],
    }),
    { code: 'bad-request' },
  )
  await world.createTiny('web1')
  await assert.rejects(create({}), { code: 'name-taken', message: /web1/ })
  const missing = await world.cli('vm', 'show', 'nobody')
  assert.equal(missing.code, 3)
  assert.match(missing.stderr, /There is no VM nobody/)
})

test('a VM that must have KVM is refused where that is not usable, with the reason', { skip }, async (t) => {
  await using world = await openWorld(t)
  const { accelerator } = await world.client.call(endpoints.getStatus)
  const vm = await world.createTiny('web1', { accelerator: 'kvm' }).catch((error: unknown) => error)
  if (accelerator.kind === 'kvm') return assert.ok(!(vm instanceof Error))

  const refusal =
    vm instanceof Error
      ? vm
      : await world
          .vm('web1')
          .start()
          .catch((error: unknown) => error)
  assert.ok(refusal instanceof Error && 'code' in refusal)
  assert.equal(refusal.code, 'accelerator-unavailable')
  assert.ok(refusal.message.length > 40, refusal.message)
})

test('garbage on the socket, half requests and clients that vanish disturb nobody', { skip }, async (t) => {
  await using world = await openWorld(t)
  const { place } = world
  const garbage = [
    randomBytes(4096),
    Buffer.alloc(100_000, 'A'),
    'GET / HTTP/9.9\r\n\r\n',
    'POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{{{{{{{{{',
    'POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999999999\r\n\r\n{',
    `GET ${streams.events} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n`,
  ]
  for (const bytes of garbage) {
    const answer = await sendBytes(place, bytes)
    assert.doesNotMatch(answer, /^HTTP\/1\.1 (2|5)/, answer.slice(0, 200))
  }
  const deep = `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`
  await sendBytes(
    place,
    `POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${deep.length}\r\n\r\n${deep}`,
  )
  for (let client = 0; client < 50; client++) {
    const socket = connect(place.socketPath)
    socket.on('error', () => {})
    socket.write(
      'POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"name":',
    )
    setTimeout(() => socket.destroy(), 20)
  }

  assert.equal((await world.client.call(endpoints.getStatus)).healthy, true)
  const vm = await world.createTiny('web1')
  assert.equal(await vm.state(), 'shutoff')
  assert.doesNotMatch(world.daemonLog(1_000_000), /"level":"error"/)
})

test('events from a number that is no longer kept, or not yet there, are refused', { skip }, async (t) => {
  await using world = await openWorld(t)
  for (const name of ['one', 'two', 'three']) await world.createTiny(name)
  await world.daemon.stop()
  {
    using store = new DatabaseSync(join(world.place.stateDir, 'kvasir.db'))
    store.exec('DELETE FROM events WHERE seq <= 2')
  }
  await world.startDaemon()

  await assert.rejects(world.client.call(endpoints.listEvents, { query: { after: 1 } }), {
    code: 'events-gone',
  })
  await assert.rejects(world.client.openStream(`${streams.events}?after=1`), { code: 'events-gone' })
  const cli = await world.cli('event', 'watch', '--after', '1')
  assert.equal(cli.code, 1, cli.stderr)
  const kept = await world.client.call(endpoints.listEvents, { query: { after: 2 } })
  assert.equal(kept[0]?.seq, 3)
})

test('of clients that want the same at once one gets it, and the others are told why not', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1')
  const codes = async (attempts: readonly Promise<unknown>[]) => tally(await Promise.allSettled(attempts))

  const starts = await codes([vm.start(), vm.start(), vm.start()])
  assert.equal(starts.get('done'), 1, JSON.stringify([...starts]))
  assert.equal((starts.get('busy') ?? 0) + (starts.get('wrong-state') ?? 0), 2, JSON.stringify([...starts]))
  await vm.waitForLogin()

  const { spec, revision } = await vm.show()
  const edits = await codes(
    ['a', 'b', 'c'].map((description) => vm.apply({ ...spec, description }, { ifMatch: revision })),
  )
  assert.equal(edits.get('done'), 1)
  assert.equal(edits.get('revision-mismatch'), 2, JSON.stringify([...edits]))

  await vm.powerOff()
  const ends = await codes([vm.delete(), vm.start(), vm.delete()])
  await world.assertCleanAudit()
  assert.ok((ends.get('done') ?? 0) >= 1, JSON.stringify([...ends]))
  for (const code of ends.keys())
    assert.ok(['done', 'busy', 'wrong-state', 'vm-not-found'].includes(code), `a racing client got ${code}`)

  const creates = await codes(Array.from({ length: 5 }, () => createSame(world)))
  assert.equal(creates.get('done'), 1)
  assert.equal(creates.get('name-taken'), 4, JSON.stringify([...creates]))
})

function createSame(world: World): Promise<unknown> {
  return world.client.call(endpoints.createVm, { body: { name: 'same', spec: tinySpec() } })
}

/** How often each outcome occurred: `done`, or the code of the refusal. */
function tally(results: readonly PromiseSettledResult<unknown>[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const result of results) {
    const reason: unknown = result.status === 'rejected' ? result.reason : undefined
    const outcome = result.status === 'fulfilled' ? 'done' : codeOf(reason)
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  }
  return counts
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
