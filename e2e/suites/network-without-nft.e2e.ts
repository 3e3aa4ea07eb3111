/** A daemon that finds no nft: a network that runs is told of as it is, and whole again when there is one. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openNetworkRoom } from '../machine/network-room.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const params = { network: 'lan' }
const withinMs = 30_000

/**
 * What the daemon is to be started with: it goes on in a mount namespace of its own, in which /usr/sbin has no nft (a whiteout of
 * overlayfs is a character device 0:0).
 */
async function withoutNft(folder: string): Promise<{ readonly NODE_OPTIONS: string }> {
  const hide = [
    `mount -t tmpfs none ${folder}`,
    `mkdir ${folder}/upper ${folder}/work`,
    `mknod ${folder}/upper/nft c 0 0`,
    `mount -t overlay -o lowerdir=/usr/sbin,upperdir=${folder}/upper,workdir=${folder}/work none /usr/sbin`,
    'exec "$@"',
  ].join(' && ')
  const preload = join(folder, '..', 'hide.mjs')
  const argv = ['unshare', '--mount', 'sh', '-c', hide, 'sh']
  await mkdir(folder)
  await writeFile(
    preload,
    `const { NODE_OPTIONS: _, ...env } = process.env
     process.execve('/usr/bin/unshare', [...${JSON.stringify(argv)}, process.execPath, ...process.execArgv, ...process.argv.slice(1)], env)`,
  )
  return { NODE_OPTIONS: `--import=${preload}` }
}

test('without nft, a network says that its rules cannot be looked at and which dnsmasq serves it', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  const shown = () => world.client.call(endpoints.getNetwork, { params })
  const { dnsmasqPid = 0 } = await world.client.call(endpoints.createNetwork, {
    body: { name: 'lan', ipv4: { subnet: '10.9.0.0/24' } },
  })

  await world.daemon.stop()
  await world.startDaemon(await withoutNft(join(world.place.base, 'hidden')))
  const isShown = async () => ((await shown()).dnsmasqPid === dnsmasqPid ? true : undefined)
  await eventually(isShown, { withinMs, what: 'the dnsmasq that runs is shown' })
  const { stdout } = await world.cli('network', 'show', 'lan')
  process.kill(dnsmasqPid, 'SIGKILL')
  const isGone = async () => ((await shown()).dnsmasqPid === undefined ? true : undefined)
  await eventually(isGone, { withinMs, what: 'the dnsmasq that ended is not shown' })
  await world.daemon.stop()
  await world.startDaemon({})

  assert.match(stdout, /^State +failed: nft of the package nftables is not installed/m)
  assert.match(stdout, new RegExp(`^dnsmasq +pid ${dnsmasqPid}$`, 'm'))
  assert.match(stdout, /^Findings +nft of the package nftables is not installed/m)
  const whole = async () => ((await shown()).state === 'active' ? await shown() : undefined)
  const { dnsmasqPid: next } = await eventually(whole, { withinMs, what: 'it is whole again' })
  assert.ok(next !== undefined && next !== dnsmasqPid)
  await world.client.call(endpoints.deleteNetwork, { params })
})
