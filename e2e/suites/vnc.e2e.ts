/** `kvasir vm vnc`: a VNC viewer on this machine reaches the display of a real VM. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { environmentOf } from '../machine/place.ts'
import { shakeHands } from '../machine/vnc-viewer.ts'
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

/** Runs `kvasir vm vnc` until its port is known. */
async function serveDisplay(world: World, name: string) {
  const child = spawn(launcher, ['vm', 'vnc', name], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...environmentOf(world.place), NO_COLOR: '1' },
    timeout: 60_000,
  })
  const signal = AbortSignal.timeout(startMs)
  const [line] = await once(createInterface(child.stdout), 'line', { signal })
  const port = Number(/^vnc:\/\/127\.0\.0\.1:(\d+)$/.exec(String(line))?.[1])
  assert.ok(port > 0, `It says where the display is: ${String(line)}`)
  return { child, port }
}
