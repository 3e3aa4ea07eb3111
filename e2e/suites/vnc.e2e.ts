/** The display of a real VM: viewers on this machine reach it by VNC and by SPICE, give it its size, and its keyboard is typed on. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inflateSync } from 'node:zlib'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { environmentOf } from '../machine/place.ts'
import { linkSpice, spiceChannels } from '../machine/spice-viewer.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { resize, shakeHands } from '../machine/vnc-viewer.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const launcher = join(import.meta.dirname, '../../kvasir')
const startMs = 20_000

test('a viewer reaches the display through a local port, again and again, until Ctrl-C', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await world.bootTiny('web1')

  const serving = await serveDisplay(world, 'web1')
  const displays = [await shakeHands(serving.port), await shakeHands(serving.port)]
  const ended = once(serving.child, 'exit')
  serving.child.kill('SIGINT')

  for (const { width, height, name } of displays) {
    assert.ok(width >= 320 && height >= 200, `The display is ${width} by ${height}.`)
    assert.match(name, /QEMU/)
  }
  assert.deepEqual(await ended, [130, null])
  await assert.rejects(shakeHands(serving.port))
})

test('a VM that is off or has no display is refused', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1', { devices: { vnc: false } })

  const off = await world.cli('vm', 'vnc', 'web1')
  await vm.start()
  const blind = await world.cli('vm', 'vnc', 'web1')

  assert.deepEqual([off.code, off.stdout, blind.code, blind.stdout], [1, '', 1, ''])
  assert.match(off.stderr, /VM web1 is shutoff/)
  assert.match(blind.stderr, /VM web1 .*display/)
})

test('a guest with virtio-gpu is told the size that its viewer wants, hears its keys, and is reached by SPICE', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    devices: { display: 'virtio', spice: true, keyboard: 'virtio', pointer: 'virtio' },
  })
  const vnc = await serveDisplay(world, 'web1')

  // What it does then is its driver's matter, which the kernel of this guest lacks.
  assert.deepEqual(await resize(vnc.port, { width: 800, height: 600 }), { reason: 1, status: 4 })
  vnc.child.kill('SIGINT')

  await vm.shell('(head -n 1 </dev/tty1 >/tmp/typed 2>/dev/null &) ; echo black on white >/dev/tty1')
  const png = join(world.place.stateDir, 'screen.png')
  assert.equal((await world.cli('vm', 'screenshot', 'web1', png)).code, 0)
  assert.ok((await coloursOf(png)) > 1, 'Something is on the screen.')
  assert.equal((await world.cli('vm', 'send-key', 'web1', 'h', 'shift-i', 'ret')).code, 0)
  await eventually(async () => ((await vm.shell('cat /tmp/typed')) === 'hI' ? true : undefined), {
    withinMs: 10_000,
    what: 'what was typed arrives',
  })
  await hearsVirtioKeys(world, vm)

  const spice = await serveSpice(world, 'web1')
  assert.deepEqual(await linkSpice(spice.port, 'guessed'), { refused: 7 })
  const link = await linkSpice(spice.port, spice.password)
  assert.ok('channels' in link, 'The password of the file is the right one.')
  const count = (kind: number) => link.channels.filter((one) => one === kind).length
  assert.deepEqual(
    [count(spiceChannels.display), count(spiceChannels.inputs), count(spiceChannels.usbRedirect)],
    [1, 1, 2],
  )
  spice.child.kill('SIGINT')
})

/** The colours in a picture whose lines are not filtered, or at least the bytes of its lines. */
async function coloursOf(file: string): Promise<number> {
  const png = await readFile(file)
  const data: Buffer[] = []
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    if (png.subarray(at + 4, at + 8).toString('latin1') === 'IDAT')
      data.push(png.subarray(at + 8, at + 8 + length))
    at += 12 + length
  }
  return new Set(inflateSync(Buffer.concat(data))).size
}

/** Runs `kvasir vm vnc` until its port is known. */
async function serveDisplay(world: World, name: string) {
  const { child, text } = await serve(world, ['vm', 'vnc', name], /^.*\n/)
  const port = Number(/^vnc:\/\/127\.0\.0\.1:(\d+)\n/.exec(text)?.[1])
  assert.ok(port > 0, `It says where the display is: ${text}`)
  return { child, port }
}

/** Runs `kvasir vm spice` until its connection file is there. */
async function serveSpice(world: World, name: string) {
  const { child, text } = await serve(world, ['vm', 'spice', name], /delete-this-file=1\n/)
  const { port = '', password = '' } =
    /^\[virt-viewer\]\ntype=spice\nhost=127\.0\.0\.1\nport=(?<port>\d+)\npassword=(?<password>\S+)\n/.exec(
      text,
    )?.groups ?? {}
  assert.ok(password.length > 0, `It is a file for remote-viewer: ${text}`)
  return { child, port: Number(port), password }
}

/** Runs the command line until it has said something on stdout. */
async function serve(world: World, argv: readonly string[], until: RegExp) {
  const child = spawn(launcher, argv, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...environmentOf(world.place), NO_COLOR: '1' },
    timeout: 60_000,
  })
  const signal = AbortSignal.timeout(startMs)
  let text = ''
  while (!until.test(text)) text += String((await once(child.stdout, 'data', { signal }))[0])
  return { child, text }
}

/** With its driver, the keys go to the virtio keyboard, and the tablet is there beside it. */
async function hearsVirtioKeys(world: World, vm: VmHandle): Promise<void> {
  await vm.shell('modprobe virtio_input')
  const names = 'cat /sys/class/input/event*/device/name'
  await eventually(async () => ((await vm.shell(names)).includes('QEMU Virtio Tablet') ? true : undefined), {
    withinMs: 10_000,
    what: 'the guest has a tablet',
  })
  const keyboard =
    '$(basename $(dirname $(dirname $(grep -l Keyboard $(grep -l Virtio /sys/class/input/event*/device/name)))))'
  await vm.run(`head -c 1 /dev/input/${keyboard} >/tmp/pressed 2>/dev/null </dev/null &`)
  await eventually(
    async () => {
      await world.cli('vm', 'send-key', 'web1', 'a')
      return (await vm.shell('wc -c </tmp/pressed')) === '1' ? true : undefined
    },
    { withinMs: 10_000, what: 'its keyboard is heard' },
  )
}
