/**
 * What a disk does inside of a guest: ours as it is by default, beside `-drive if=virtio` of a QEMU started by hand, and beside the disk
 * that virt-install writes into its domains (qcow2, virtio, discard). The same kernel, the same commands, a qcow2 file each on the same
 * file system, filled once before anything is measured. The guest reads and writes past its own page cache.
 */
import { execFile } from 'node:child_process'
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { lacking } from '../tools/require.ts'
import { type BareGuest, bootBareGuest } from './bare-guest.ts'
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
import { type Libvirt, libvirtMissing, openLibvirt } from './private-libvirt.ts'
import { tell } from './report.ts'

const run = promisify(execFile)
const rounds = 7
const memoryMib = 256
const diskMib = 256
const vm = 'bench'
const [ours, bare, virtInstall] = ['kvasir', 'bare QEMU', 'virt-install'] as const
// Never slower than virt-install's: two disks that are the same differ by 3 % from run to run.
const limits = [
  [bare, 1.2],
  [virtInstall, 1.03],
] as const

interface Peer {
  readonly guest: BenchGuest
  readonly last: LastTimes
  /** Its disk's file. */
  readonly file: string
}

interface Load {
  readonly line: string
  /** The host's page cache holds nothing of the disk when it begins. */
  readonly cold?: true
}

const read = { line: 'dd if=/dev/vda of=/dev/null bs=1M count=128 iflag=direct' }
const loads: Readonly<Record<string, Load>> = {
  'write 128 MiB in order': { line: 'dd if=/dev/zero of=/dev/vda bs=1M count=128 oflag=direct conv=fsync' },
  'read 128 MiB in order': { ...read, cold: true },
  'the same again': read,
  '2,000 writes of 4 KiB': { line: 'dd if=/dev/zero of=/dev/vda bs=4k count=2000 oflag=direct conv=fsync' },
  '2,000 reads of 4 KiB': { line: 'dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct', cold: true },
  // Forty places that look like chance and are the same for everybody, some writes and an fsync at each.
  'writes of 4 KiB here and there': {
    line: 'i=0; while [ $i -lt 40 ]; do dd if=/dev/zero of=/dev/vda bs=4k count=4 seek=$((i * 7919 % 65000)) oflag=direct conv=fsync,notrunc; i=$((i + 1)); done',
  },
  'reads of 4 KiB here and there': {
    line: 'i=0; while [ $i -lt 40 ]; do dd if=/dev/vda of=/dev/null bs=4k count=4 skip=$((i * 7919 % 65000)) iflag=direct; i=$((i + 1)); done',
    cold: true,
  },
}

await using daemon = await BenchDaemon.open()
await using libvirt = await openLibvirt(daemon.place)
const machine = await describeMachine(daemon.client)

await daemon.createVm(vm, {
  image: 'tiny',
  memory: { size: `${memoryMib}MiB` },
  disks: [{ name: 'data', size: `${diskMib}MiB` }],
})
const { pid } = await daemon.startVm(vm)
const [kernel, initrd] = ['kernel', 'initrd'].map((file) => {
  const copy = join(daemon.place.base, file)
  copyFileSync(`/proc/${pid}/root/boot/${file}`, copy)
  return copy
})
if (kernel === undefined || initrd === undefined) throw new Error('The tiny guest boots no kernel.')

await using own = guestOf(daemon, vm)
await untilBooted(own)
const bareDisk = await makeDisk('bare')
await using byHand: BareGuest = await bootBareGuest({
  folder: join(daemon.place.base, 'bare'),
  kernel,
  initrd,
  memoryMib,
  drive: `if=virtio,format=qcow2,file=${bareDisk}`,
})
const guests = new Map<string, Peer>([
  [ours, { guest: own, file: onlyVolume(), last: new Map() }],
  [bare, { guest: byHand, file: bareDisk, last: new Map() }],
])
const domain = libvirt ? await startDomain(libvirt, { kernel, initrd }) : undefined
if (domain) guests.set(virtInstall, domain)
else lacking('libvirt', libvirtMissing)

for (const { guest } of guests.values())
  await guest.shell(`dd if=/dev/urandom of=/dev/vda bs=1M count=${diskMib} oflag=direct conv=fsync`)

tell({
  name: 'storage-io',
  machine,
  ...(await compareLoads({ ours, limits, peers: guests, loads, measure: measureIn, rounds })),
  notes: [
    `${rounds} rounds in turn in three guests that run at the same time; times are the guest's own`,
    'all go through the page cache of the host by default, and the files lie on one file system',
  ],
})

async function measureIn({ guest, file, last }: Peer, { line, cold }: Load): Promise<number> {
  if (cold) await run('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'])
  return await timedInGuest(guest, line, last)
}

async function makeDisk(who: string): Promise<string> {
  const path = join(daemon.place.base, `${who}.qcow2`)
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, `${diskMib}M`])
  return path
}

function onlyVolume(): string {
  const folder = join(daemon.place.stateDir, 'volumes')
  const [volume = ''] = readdirSync(folder)
  return join(folder, volume)
}

async function startDomain(
  peer: Libvirt,
  boot: { readonly kernel: string; readonly initrd: string },
): Promise<Peer> {
  const [inKernel, inInitrd, disk] = await Promise.all(
    [boot.kernel, boot.initrd, await makeDisk('libvirt')].map((file) => peer.lend(file)),
  )
  if (inKernel === undefined || inInitrd === undefined || disk === undefined)
    throw new TypeError('There are three files.')
  const xml = domainXml(vm, { kernel: inKernel, initrd: inInitrd, memoryMib, disk })
  await peer.define(xml)
  await peer.virsh('start', vm)
  const guest = domainGuest(peer, vm)
  await untilBooted(guest)
  return { guest, file: peer.onHost(disk), last: new Map() }
}
