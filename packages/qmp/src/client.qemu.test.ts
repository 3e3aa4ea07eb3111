import assert from 'node:assert/strict'
import { test } from 'node:test'
import { needs } from '../../../tools/require.ts'
import { QmpClient } from './client.ts'
import { QmpClosedError, QmpError, QmpTimeoutError } from './errors.ts'
import { introspectedVersions, versionsOfCommand } from './generated/command-versions.ts'
import { startEmulator } from './testing/emulator.ts'
import { waitForEvent } from './wait-for-event.ts'

const skip = needs('qemu')

test('A real QEMU says its version, its state and its schema', { skip }, async () => {
  await using emulator = await startEmulator()
  using client = await QmpClient.connect({ path: emulator.path })

  const { qemu } = await client.execute('query-version')
  const { status, running } = await client.execute('query-status')
  const schema = await client.execute('query-qmp-schema')

  assert.deepEqual([qemu.major, qemu.minor], [client.version.major, client.version.minor])
  assert.deepEqual({ status, running }, { status: 'prelaunch', running: false })
  assert.ok(schema.length > 500)
})

test('A real QEMU has the commands that the generated table gives to its version', { skip }, async (t) => {
  await using emulator = await startEmulator()
  using client = await QmpClient.connect({ path: emulator.path })
  const version = `${client.version.major}.${client.version.minor}`
  if (!introspectedVersions.includes(version)) {
    t.diagnostic(`QEMU ${version} is not introspected; nothing to compare`)
    return
  }

  const names = new Set((await client.execute('query-commands')).map(({ name }) => name))

  const expected = [...versionsOfCommand].filter(([, versions]) => versions.includes(version))
  assert.deepEqual(
    expected.filter(([name]) => !names.has(name)),
    [],
  )
})

test("A refusal has QEMU's class and the connection goes on", { skip }, async () => {
  await using emulator = await startEmulator()
  using client = await QmpClient.connect({ path: emulator.path })

  await assert.rejects(client.execute('device_del', { id: 'nothing' }), (error) => {
    assert.ok(error instanceof QmpError)
    assert.equal(error.class, 'DeviceNotFound')
    return true
  })
  await assert.rejects(client.executeUntyped('no-such-command'), { class: 'CommandNotFound' })
  await assert.rejects(client.executeUntyped('query-status', { extra: 1 }), { class: 'GenericError' })
  assert.equal((await client.execute('query-status')).status, 'prelaunch')
})

test('Events come typed: RESUME, STOP, SHUTDOWN', { skip }, async () => {
  await using emulator = await startEmulator()
  using client = await QmpClient.connect({ path: emulator.path })
  const heard: string[] = []
  client.on('*', ({ event }) => heard.push(event))

  await client.execute('cont')
  await client.execute('stop')
  const shutdown = waitForEvent(client, 'SHUTDOWN', { timeoutMs: 5000 })
  await client.execute('quit')

  assert.equal((await shutdown).data.reason, 'host-qmp-quit')
  assert.deepEqual(heard.slice(0, 3), ['RESUME', 'STOP', 'SHUTDOWN'])
  assert.deepEqual(await client.closed, { kind: 'ended-by-peer' })
})

test('A block node is added, seen and removed with typed arguments', { skip }, async () => {
  await using emulator = await startEmulator()
  using client = await QmpClient.connect({ path: emulator.path })

  await client.execute('blockdev-add', {
    driver: 'null-co',
    'node-name': 'blank',
    size: 4096,
    'read-zeroes': true,
  })
  const [node] = await client.execute('query-named-block-nodes', { flat: true })
  await client.execute('blockdev-del', { 'node-name': 'blank' })

  assert.equal(node?.['node-name'], 'blank')
  assert.equal(node?.image['virtual-size'], 4096)
})

test('QEMU killed in the middle of a command rejects it cleanly', { skip }, async () => {
  await using emulator = await startEmulator()
  using client = await QmpClient.connect({ path: emulator.path })
  emulator.process.kill('SIGSTOP')
  const pending = client.execute('query-status')

  emulator.process.kill('SIGKILL')

  await assert.rejects(pending, QmpClosedError)
  assert.deepEqual(await client.closed, { kind: 'ended-by-peer' })
  await assert.rejects(client.execute('query-status'), QmpClosedError)
})

test('A stopped QEMU is a time-out, and once continued it answers the next command', { skip }, async () => {
  await using emulator = await startEmulator()
  using client = await QmpClient.connect({ path: emulator.path })
  emulator.process.kill('SIGSTOP')

  await assert.rejects(client.execute('query-name', {}, { timeoutMs: 50 }), QmpTimeoutError)
  emulator.process.kill('SIGCONT')

  assert.equal((await client.execute('query-status')).status, 'prelaunch')
  assert.equal(client.unansweredCommands, 0)
})

test('A second client of one monitor gets a clear time-out, and its turn once the first has left', {
  skip,
}, async () => {
  await using emulator = await startEmulator()
  const first = await QmpClient.connect({ path: emulator.path })

  await assert.rejects(QmpClient.connect({ path: emulator.path, greetingTimeoutMs: 100 }), (error) => {
    assert.ok(error instanceof QmpTimeoutError)
    assert.match(error.message, /sent no greeting within 100 ms.*another client holds it/)
    return true
  })
  assert.equal((await first.execute('query-status')).status, 'prelaunch')

  first.close()
  using second = await QmpClient.connect({ path: emulator.path })
  assert.equal((await second.execute('query-status')).status, 'prelaunch')
})

test('A client that leaves with commands unanswered does not confuse the next one', { skip }, async () => {
  await using emulator = await startEmulator()
  for (let round = 0; round < 10; round++) {
    const leaver = await QmpClient.connect({ path: emulator.path })
    const asked = Array.from({ length: 20 }, () => leaver.execute('query-qmp-schema'))
    leaver.close()
    await Promise.allSettled(asked)

    using client = await QmpClient.connect({ path: emulator.path })
    assert.equal((await client.execute('query-status')).status, 'prelaunch')
  }
})
