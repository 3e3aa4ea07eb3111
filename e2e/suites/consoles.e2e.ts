/** Consoles: the serial one with its past, its viewers and its one writer; the display by VNC and as a picture. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'
import { endpoints, streams } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { runCli, startCli } from '../machine/cli.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import { joinConsole } from '../machine/guest-console.ts'
import { loginMarker } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const withinMs = 60_000

test('who comes to the console sees what was said before and can type', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')

  {
    using console = await vm.console()
    assert.ok(console.screen().includes(loginMarker) || console.scrollbackBytes > 0)
    await console.untilShown(loginMarker)
    assert.equal(await console.shell('hostname'), 'tiny')
    await console.type('echo left-behind >/dev/ttyS0\n')
    await console.untilShown(/\nleft-behind/)
  }
  await world.daemon.kill9()
  await world.startDaemon()

  using later = await vm.console()
  await later.untilShown('left-behind')
  assert.equal(await later.shell('echo $((6 * 7))'), '42')
  assert.match(await vm.serialLog(), /left-behind/)
})

test('many watch, one writes, and taking over is said to who had it', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  using writer = await vm.console('write')
  using reader = await vm.console('read')
  assert.deepEqual([writer.mode(), reader.mode()], ['write', 'read'])
  await assert.rejects(vm.console('write'), { code: 'console-taken' })

  await reader.type('echo from-the-reader\n')
  await eventually(async () => reader.notices().find((notice) => /not passed on/.test(notice)), {
    withinMs: 5_000,
    what: 'the reader is told that typing goes nowhere',
  })
  await writer.type('echo from-the-wri""ter\n')
  await reader.untilShown('from-the-writer')
  assert.doesNotMatch(writer.screen(), /from-the-reader/)

  using usurper = await vm.console('take-over')
  await eventually(async () => (writer.mode() === 'read' ? true : undefined), {
    withinMs: 5_000,
    what: 'the writer is told',
  })
  assert.match(writer.notices().join(), /took over/)
  assert.equal(await usurper.shell('echo mine'), 'mine')
  await writer.untilShown('mine')
})

test('a viewer that vanishes frees the console', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const { ticket } = await world.client.call(endpoints.consoleTicket, { params: { name: 'web1' }, body: {} })

  // A bare connection that is cut without a word, as by a client that is killed.
  const socket = connect(world.place.socketPath)
  socket.write(
    `GET ${streams.console}?ticket=${encodeURIComponent(ticket)} HTTP/1.1\r\nHost: kvasir\r\nConnection: Upgrade\r\n` +
      'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  const askToWrite = () => world.client.call(endpoints.consoleTicket, { params: { name: 'web1' }, body: {} })
  await eventually(async () => assert.rejects(askToWrite(), { code: 'console-taken' }).then(() => true), {
    withinMs: 5_000,
    what: 'the console is taken',
  })
  socket.destroy()

  using console = await eventually(() => vm.console('write'), {
    withinMs: 5_000,
    what: 'the console is free',
  })
  assert.equal(await console.shell('echo free'), 'free')
})

test('a ticket is good once, and only for what it was given for', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const params = { name: vm.name }
  const { ticket } = await world.client.call(endpoints.consoleTicket, { params, body: { mode: 'read' } })
  const display = await world.client.call(endpoints.vncTicket, { params })

  using _first = await joinConsole(world.client, ticket)
  await assert.rejects(joinConsole(world.client, ticket), { code: 'ticket-invalid' })
  await assert.rejects(joinConsole(world.client, display.ticket), { code: 'ticket-invalid' })
  await assert.rejects(joinConsole(world.client, 'made-up'), { code: 'ticket-invalid' })
})

test('the console ends with its VM, and one that is off has none', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  using console = await vm.console()

  await vm.powerOff()

  assert.match(await console.ended, /powered off|ended|off/)
  await assert.rejects(vm.console(), { code: 'wrong-state' })
})

test('the display speaks VNC, and can be had as a picture', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const params = { name: vm.name }

  const { ticket } = await world.client.call(endpoints.vncTicket, { params })
  using socket = await world.client.openStream(streams.vnc, { ticket })
  const first = await socket.messages().next()
  assert.ok(first.done !== true && first.value.kind === 'bytes')
  assert.equal(first.value.bytes.toString('latin1'), 'RFB 003.008\n')

  const png = Buffer.from(await world.client.call(endpoints.screenshotVm, { params }))
  assert.equal(png.subarray(1, 4).toString('latin1'), 'PNG')
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)]
  assert.ok(width >= 320 && height >= 200, `The picture is ${width} by ${height}.`)
  assert.ok(pixelsOf(png).length >= width * height)
})

test('a VM without a display has no picture', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { devices: { vnc: false } })
  const params = { name: vm.name }

  await assert.rejects(world.client.call(endpoints.screenshotVm, { params }), { code: 'unsupported' })
  await assert.rejects(
    world.client
      .call(endpoints.vncTicket, { params })
      .then(({ ticket }) => world.client.openStream(streams.vnc, { ticket })),
    { code: 'unsupported' },
  )
})

/** The uncompressed data of a PNG, which must be whole. */
function pixelsOf(png: Buffer): Buffer {
  const data: Buffer[] = []
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    if (png.subarray(at + 4, at + 8).toString('latin1') === 'IDAT')
      data.push(png.subarray(at + 8, at + 8 + length))
    at += 12 + length
  }
  return inflateSync(Buffer.concat(data))
}

test('a program of the guest and one outside speak by a channel, one at a time', { skip }, async (t) => {
  await using world = await openWorld(t)
  const channel = 'org.example.app.0'
  const vm = await world.bootTiny('web1', { devices: { channels: [channel] } })
  const connectTo = ['vm', 'channel', 'connect', 'web1', channel]
  const isOpen = async () => (await vm.show()).status.channels?.[0]?.open
  assert.equal(await isOpen(), false)
  await vm.assertCaged()

  const port = `/dev/$(basename $(dirname $(grep -l ${channel} /sys/class/virtio-ports/*/name)))`
  const answer = 'while :; do read line <&3 && echo "heard $line" >&3 || sleep 0.2; done'
  await vm.run(`(exec 3<>${port}; ${answer}) >/dev/null 2>&1 </dev/null &`)
  await eventually(isOpen, { withinMs: 10_000, what: 'the guest has it open' })
  const cli = startCli(world.place, connectTo)
  cli.stdin.write('by the command line\n')
  assert.equal(await firstLine(cli.stdout), 'heard by the command line')
  const refused = await world.cli(...connectTo)
  assert.match(refused.stderr, /Somebody else is connected to channel org\.example\.app\.0/)
  cli.kill('SIGINT')
  await once(cli, 'close')

  await world.daemon.kill9()
  await world.startDaemon()
  assert.equal(await isOpen(), true)
  const socket = connect((await vm.show()).status.channels?.[0]?.socket ?? '')
  socket.write('by the socket\n')
  assert.equal(await firstLine(socket), 'heard by the socket')
  assert.equal((await world.cli(...connectTo)).code, refused.code)
  socket.destroy()
  const passing = await runCli(world.place, [...connectTo, '--linger', '0'], { input: 'in passing\n' })
  assert.equal(passing.code, 0)
  const lasting = startCli(world.place, connectTo)
  const said = text(lasting.stderr)
  lasting.stdin.end('to the end\n')
  assert.match(await untilSaid(lasting.stdout, 'the end\n'), /^heard to the end$/m)
  await world.cli('vm', 'power-off', 'web1')
  assert.match(await said, /Channel org\.example\.app\.0 of VM web1 has ended/)
})

test('channels come and go while the guest runs, whatever the daemon dies of in between', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const [app, log] = ['org.example.app.0', 'org.example.log.0']
  const vm = await world.bootTiny('web1')
  const ports = async () =>
    (await vm.shell('cat /sys/class/virtio-ports/*/name')).split('\n').filter((name) => /example/.test(name))
  const change = async (verb: 'add' | 'remove', channel: string) =>
    await world.cli('vm', 'channel', verb, 'web1', channel)

  assert.match((await change('add', app)).stderr, /Channel org\.example\.app\.0 is plugged\./)
  await eventually(async () => (await ports()).join() === app, { withinMs, what: 'the guest has it' })
  for (const [point, verb, wanted] of [
    ['emulator.plug-channel.after-back-end', 'add', [app, log]],
    ['vm.channels.after-release', 'remove', [app]],
    ['emulator.plug-channel.after-device', 'add', [app, log]],
  ] as const) {
    await failpoints.arm(point, 'exit')
    await Promise.all([change(verb, log), world.daemon.exited])
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)
    const isSo = async () => {
      const { restartNeeded, channels = [] } = (await vm.show()).status
      const shown = channels.map(({ name }) => name).sort()
      const seen = (await ports()).sort()
      return restartNeeded?.length === 0 && [shown, seen].every((names) => names.join() === wanted.join())
    }
    await eventually(isSo, { withinMs, what: `${point}: guest and status have what was wanted` })
  }
  await vm.assertCaged()

  const port = `/dev/$(basename $(dirname $(grep -l ${log} /sys/class/virtio-ports/*/name)))`
  const answer = 'while :; do read line <&3 && echo "heard $line" >&3 || sleep 0.2; done'
  await vm.run(`(exec 3<>${port}; ${answer}) >/dev/null 2>&1 </dev/null &`)
  const cli = startCli(world.place, ['vm', 'channel', 'connect', 'web1', log])
  cli.stdin.write('live\n')
  assert.equal(await firstLine(cli.stdout), 'heard live')
  const said = text(cli.stderr)
  assert.match((await change('remove', log)).stderr, /Channel org\.example\.log\.0 is gone\./)
  assert.match(await said, /Channel org\.example\.log\.0 of VM web1 has ended/)
  assert.equal((await change('remove', app)).code, 0)
  await eventually(async () => (await ports()).length === 0, { withinMs, what: 'the guest has none' })
  const left = (await readdir(join(world.place.runtimeDir, 'vms', (await vm.show()).uuid))).filter((name) =>
    name.startsWith('channel'),
  )
  assert.deepEqual([(await vm.show()).status.channels, left], [undefined, []])
})

async function firstLine(stream: Readable): Promise<string> {
  return (await untilSaid(stream, '\n')).trimEnd()
}

async function untilSaid(stream: Readable, last: string): Promise<string> {
  let said = ''
  for await (const bytes of stream.iterator({ destroyOnReturn: false })) {
    said += String(bytes)
    if (said.endsWith(last)) break
  }
  return said
}
