/**
 * What a NIC does inside of guests: ours as it is by default, beside a tap of a QEMU started by hand, and beside the NIC that virt-install
 * writes into its domains. Two guests of each, all on one bridge, with the same kernel and the same commands; what the host sends and
 * takes is one program for all.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { endpoints } from '@kvasir/contract'
import { eventually } from '../e2e/machine/eventually.ts'
import { openNetworkRoom } from '../e2e/machine/network-room.ts'
import { lacking } from '../tools/require.ts'
import { bootBareGuest } from './bare-guest.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { compareLoads } from './compare-loads.ts'
import { describeMachine } from './describe-machine.ts'
import { domainXml } from './domain-xml.ts'
import {
  type BenchGuest,
  domainGuest,
  guestOf,
  type LastTimes,
  timedInGuest,
  untilBooted,
} from './guest-shell.ts'
import { libvirtMissing, openLibvirt } from './private-libvirt.ts'
import { tell } from './report.ts'

const rounds = 5
const memoryMib = 128
const mib = 32
const bridge = 'br-bench'
const gateway = '10.9.0.1'
/** Ports of the host: what is sent to the first is thrown away, the second sends. */
const [sink, source] = [9_001, 9_002]
const leaseMs = 60_000
const [ours, bare, virtInstall] = ['kvasir', 'bare QEMU', 'virt-install'] as const
const limits = [
  [bare, 1.1],
  [virtInstall, 1],
] as const

/** Two guests that were started the same way, and the address of the second. */
interface Pair {
  readonly guest: BenchGuest
  readonly last: LastTimes
  readonly other: string
}

const loads: Readonly<Record<string, (pair: Pair) => string>> = {
  [`${mib} MiB, guest to host`]: () => `dd if=/dev/zero bs=64k count=${mib * 16} | nc ${gateway} ${sink}`,
  [`${mib} MiB, host to guest`]: () => `nc ${gateway} ${source} </dev/null >/dev/null`,
  [`${mib} MiB, guest to guest`]: ({ other }) =>
    `dd if=/dev/zero bs=64k count=${mib * 16} | nc ${other} ${sink}`,
  '200 questions to the host': () => `ping -A -q -c 200 ${gateway}`,
  '200 questions to a guest': ({ other }) => `ping -A -q -c 200 ${other}`,
}

await using room = await openNetworkRoom()
await using daemon = await BenchDaemon.open({ network: room.host.path })
await using made = new AsyncDisposableStack()
await daemon.client.call(endpoints.createNetwork, {
  body: { name: 'lan', bridge, ipv4: { subnet: '10.9.0.0/24' } },
})
made.defer(async () => {
  await daemon.client.call(endpoints.deleteNetwork, { params: { network: 'lan' } })
})
const libvirt = await openLibvirt(daemon.place, { network: room.host.path })
if (libvirt) made.use(libvirt)
const machine = await describeMachine(daemon.client)
made.use(await serveTraffic())

const own = await bootOwn()
const boot = await kernelOf('ours1')
const pairs = new Map<string, Pair>([[ours, own]])
pairs.set(bare, await pairOf(await Promise.all([1, 2].map(bootBare))))
if (libvirt) pairs.set(virtInstall, await pairOf(await bootDomains()))
else lacking('libvirt', libvirtMissing)

tell({
  name: 'network-traffic',
  machine,
  ...(await compareLoads({
    ours,
    limits,
    peers: pairs,
    loads,
    measure: (pair, line) => timedInGuest(pair.guest, line(pair), pair.last),
    rounds,
  })),
  notes: [
    `${rounds} rounds in turn in guests that run at the same time, by the guest's own clock; all on one bridge`,
  ],
})

async function bootOwn(): Promise<Pair> {
  const names = ['ours1', 'ours2']
  for (const name of names) {
    await daemon.createVm(name, {
      image: 'tiny',
      memory: { size: `${memoryMib}MiB` },
      nics: [{ name: 'net0', network: 'lan' }],
    })
    made.defer(() => daemon.deleteVm(name))
    await daemon.startVm(name)
  }
  return await pairOf(names.map((name) => made.use(guestOf(daemon, name))))
}

/** The kernel that our guests boot, as files of the host. */
async function kernelOf(vm: string): Promise<{ readonly kernel: string; readonly initrd: string }> {
  const { status } = await daemon.client.call(endpoints.getVm, { params: { name: vm } })
  const [kernel = '', initrd = ''] = ['kernel', 'initrd'].map((file) => {
    const copy = join(daemon.place.base, file)
    copyFileSync(`/proc/${status.pid}/root/boot/${file}`, copy)
    return copy
  })
  return { kernel, initrd }
}

/** As people write it: a tap that ip(8) made, and virtio-net with QEMU's defaults. */
async function bootBare(number: number): Promise<BenchGuest> {
  const tap = `benchtap${number}`
  for (const words of [`tuntap add dev ${tap} mode tap`, `link set ${tap} master ${bridge} up`])
    await room.host.run('ip', ...words.split(' '))
  return made.use(
    await bootBareGuest({
      ...boot,
      folder: join(daemon.place.base, `bare${number}`),
      memoryMib,
      nic: {
        netdev: `tap,id=n0,ifname=${tap},script=no,downscript=no`,
        device: `virtio-net-pci,netdev=n0,mac=52:54:00:be:0c:0${number}`,
        network: room.host.path,
      },
    }),
  )
}

async function bootDomains(): Promise<readonly BenchGuest[]> {
  if (!libvirt) throw new TypeError('There is no libvirt.')
  const kernel = await libvirt.lend(boot.kernel)
  const initrd = await libvirt.lend(boot.initrd)
  const names = ['domain1', 'domain2']
  for (const name of names) {
    await libvirt.define(domainXml(name, { kernel, initrd, memoryMib, bridge }))
    await libvirt.virsh('start', name)
  }
  return names.map((name) => made.use(domainGuest(libvirt, name)))
}

async function pairOf(guests: readonly BenchGuest[]): Promise<Pair> {
  const [guest, second] = guests
  if (!guest || !second) throw new TypeError('A pair has two guests.')
  for (const each of [guest, second]) await untilBooted(each)
  await addressOf(guest)
  await second.shell(`(nc -ll -p ${sink} -e /bin/sh -c 'cat >/dev/null') </dev/null >/dev/null 2>&1 &`)
  return { guest, other: await addressOf(second), last: new Map() }
}

/** What the network's DHCP gave it. */
async function addressOf(guest: BenchGuest): Promise<string> {
  const address = async () => /inet (10\.9\.0\.\d+)/.exec(await guest.shell('ip -4 addr show dev eth0'))?.[1]
  return await eventually(address, { withinMs: leaseMs, what: 'a guest has an address' })
}

/** The host's side of all transfers. */
async function serveTraffic(): Promise<AsyncDisposable> {
  const program = `
const { createServer } = require('node:net')
createServer({ allowHalfOpen: true }, (from) => from.on('error', () => {}).on('end', () => from.end()).resume()).listen(${sink}, '${gateway}')
createServer({ allowHalfOpen: true }, (to) => {
  let left = ${mib * 16}
  const block = Buffer.alloc(65536)
  const more = () => { while (left-- > 0) if (!to.write(block)) return; to.end() }
  to.on('error', () => {}).on('drain', more).resume()
  more()
}).listen(${source}, '${gateway}', () => process.stdout.write('ready'))
`
  const child: ChildProcess = spawn('nsenter', [`--net=${room.host.path}`, process.execPath, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.stdout) await once(child.stdout, 'data')
  return {
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}
