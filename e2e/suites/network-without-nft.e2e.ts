/**
 * A daemon that finds no nft: a network that runs is told of as it is, and whole again when there is one; one on the LAN of the host goes
 * without, as long as no NIC on it is to be guarded or limited.
 */
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
const brMac = '52:54:00:00:00:0b'

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

test('without nft, networks on the LAN of the host carry NICs that need no rules, and say what is missing', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  await room.host.run('ip', 'link', 'add', 'br0', 'up', 'address', brMac, 'type', 'bridge')
  const quiet = await room.host.run('ip', '-brief', 'link', 'show')
  const shown = (network: string) => world.client.call(endpoints.getNetwork, { params: { network } })
  const details = async (network: string) =>
    (await shown(network)).findings.map(({ detail }) => detail).join()
  await world.daemon.stop()
  await world.startDaemon(await withoutNft(join(world.place.base, 'hidden')))

  for (const body of [
    { name: 'lan', mode: 'bridge', bridge: 'br0' },
    { name: 'direct', mode: 'macvtap', link: 'uplink' },
  ] as const)
    await world.client.call(endpoints.createNetwork, { body })
  const nics = ['lan', 'direct'].map((network) => ({ name: network, network }))
  const web1 = await world.createTiny('web1', { nics })
  const web2 = await world.createTiny('web2', { nics: [{ name: 'net0', network: 'lan', isolated: true }] })
  await web1.start()
  const none = 'nft is not installed, so no NIC on it can be guarded or limited; the package nftables has it.'
  const isSaid = async (network: string) => ((await details(network)).startsWith(none) ? true : undefined)
  for (const network of ['lan', 'direct'])
    await eventually(() => isSaid(network), { withinMs, what: `network ${network} says what it lacks` })
  const told = await Promise.all(['lan', 'direct'].map(shown))
  const taps = await room.host.run('ip', '-brief', 'link', 'show', 'master', 'br0')
  await assert.rejects(web2.start(), /nft of the package nftables is not installed/)
  await web1.powerOff()
  const isWhole = async () => ((await shown('lan')).state === 'active' ? true : undefined)
  await eventually(isWhole, { withinMs, what: 'the network is as before the NIC that needs rules' })
  for (const network of ['lan', 'direct'])
    await world.client.call(endpoints.stopNetwork, { params: { network } })
  const left = await room.host.run('ip', '-brief', 'link', 'show')
  await world.client.call(endpoints.startNetwork, { params })
  await world.daemon.stop()
  await world.startDaemon({})

  for (const { state, repairs, findings } of told) {
    assert.deepEqual([state, repairs], ['active', []])
    assert.equal(findings[0]?.detail, none)
  }
  assert.match(taps, /^kvt[0-9a-f]{10} /)
  assert.equal(withoutFlags(left), withoutFlags(quiet))
  const isKnown = async () => ((await details('lan')) === '' ? true : undefined)
  await eventually(isKnown, { withinMs, what: 'with nft again, nothing is missing' })
  await web2.start()
  await web2.powerOff()
})

function withoutFlags(links: string): string {
  return links.replaceAll(/ (UP|DOWN|UNKNOWN) +/g, ' ').replaceAll(/<[^>]*>/g, '')
}
