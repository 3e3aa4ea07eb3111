/**
 * A NIC on a network of mode sriov: a virtual function that a guest brings up, with what its physical function set it to; all of it goes back
 * however the VM, its emulator and the daemon end, and the number of virtual functions never changes under a VM.
 */
import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { endpoints } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import type { VmHandle } from '../../e2e/machine/vm-handle.ts'
import { openWorld, type World } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { create, diskInit, makeGuest, pciFolder, pciOf, untilDone } from '../testing/device-guest.ts'
import { sh } from '../testing/shell.ts'

const skip = needs('lab', 'root', 'qemu')

/** What the guest does that has a NIC alone. */
const nicInit = diskInit
  .split('\n')
  .filter((line) => !line.includes('nvme'))
  .join('\n')
  .replace(
    '/bin/busybox ip link',
    'echo "mac $(/bin/busybox cat /sys/class/net/eth0/address)"\n/bin/busybox ip link',
  )
  .replace(
    'while :; do /bin/busybox sleep 60; done',
    `/bin/busybox ip addr add 10.43.0.2/24 dev eth0
while :; do
  until [ -e /sys/class/net/eth1 ]; do /bin/busybox sleep 0.2; done
  echo "second $(/bin/busybox cat /sys/class/net/eth1/address)"
  /bin/busybox ip link set eth1 up
  /bin/busybox arping -D -I eth1 -w 10 10.43.0.2
  while [ -e /sys/class/net/eth1 ]; do /bin/busybox sleep 0.2; done
  echo second has gone
done`,
  )

const guestMac = '52:54:00:00:00:42'
const secondMac = '52:54:00:00:00:43'
const params = { network: 'fast' }

interface VfInfo {
  readonly address: string
  readonly vlan_list: unknown
}

/** What a physical function says of its virtual functions, but for the addresses that drivers make up, and which driver has each. */
async function functionsOf(pf: string) {
  const [link] = JSON.parse(await sh(`ip -j link show dev ${pf}`))
  const infos: readonly VfInfo[] = link.vfinfo_list ?? []
  const settings = infos.map((info) => ({
    ...info,
    address: [guestMac, secondMac].includes(info.address) ? info.address : 'another',
  }))
  const folder = `/sys/class/net/${pf}/device`
  const names = readdirSync(folder).filter((name) => name.startsWith('virtfn'))
  return { settings, drivers: names.map((name) => readdirSync(`${folder}/${name}`).includes('driver')) }
}

/** What the virtual function that the guest has is set to. */
async function ofGuest(pf: string) {
  const { settings } = await functionsOf(pf)
  return settings.find(({ address }) => address === guestMac)
}

/** Makes the network, after others that cannot be made. */
async function createFast(world: World, pf: string): Promise<void> {
  const createWith = (sriov: { readonly pfs: string[]; readonly vfs?: number; readonly vlan?: number }) =>
    world.client.call(endpoints.createNetwork, { body: { name: 'fast', mode: 'sriov', sriov } })
  await assert.rejects(createWith({ pfs: ['lo'] }), /link lo has no SR-IOV; those with SR-IOV are /)
  await assert.rejects(createWith({ pfs: [pf], vfs: 99 }), /can have 7 virtual functions at most, and 99/)
  await assert.rejects(createWith({ pfs: [pf], vlan: 4096 }), /not the number of a VLAN/)
  await createWith({ pfs: [pf], vfs: 2, vlan: 42 })
}

/** Changes the network under a VM that runs: its VLAN goes, fewer virtual functions do not. */
async function changeFast(world: World, pf: string): Promise<void> {
  const sriov = { pfs: [pf], vfs: 2, vlan: 43 }
  const change = { params, query: { restart: 'true' } }
  await world.client.call(endpoints.changeNetwork, { ...change, body: { sriov } })
  assert.match(JSON.stringify(await ofGuest(pf)), /"vlan":43/)
  const shrunk = world.client.call(endpoints.changeNetwork, {
    ...change,
    body: { sriov: { ...sriov, vfs: 1 } },
  })
  await assert.rejects(shrunk, /VM web1 runs with a NIC on network fast/)
  await assert.rejects(world.client.call(endpoints.stopNetwork, { params }), /VM web1 runs with a NIC/)
}

/** The host, in the VLAN of the network, reaches the guest: its packets pass the switch between physical and virtual functions. */
async function reach(pf: string): Promise<void> {
  await sh(`ip link add link ${pf} name v43 type vlan id 43
    ip addr add 10.43.0.1/24 dev v43
    ip link set v43 up`)
  try {
    await eventually(
      async () =>
        (await sh('ping -c1 -W1 10.43.0.2 || true')).includes(' 0% packet loss') ? true : undefined,
      { withinMs: 10_000, what: 'the guest answers by its virtual function' },
    )
  } finally {
    await sh('ip link del v43')
  }
}

/** A second NIC comes, hears the first one through the device, and goes. */
async function plugSecond(
  world: World,
  { pf, vm }: { readonly pf: string; readonly vm: VmHandle },
): Promise<void> {
  const says = (words: string | RegExp) =>
    eventually(async () => ((await vm.serialLog()).match(words) ? true : undefined), {
      withinMs: 40_000,
      what: `the guest says ${words}`,
    })
  const before = await functionsOf(pf)

  const added = await world.cli('vm', 'nic', 'add', 'web1', `name=net1,network=fast,mac=${secondMac}`)

  assert.match(`${added.stdout}${added.stderr}`, new RegExp(`NIC net1 is \\S+ of ${pf}, and plugged`))
  await says(`second ${secondMac}`)
  await says(new RegExp(`reply from 10\\.43\\.0\\.2 \\[${guestMac}\\]`, 'i'))
  assert.equal((await vm.show()).status.vfs?.length, 2)
  const { settings } = await functionsOf(pf)
  assert.match(JSON.stringify(settings.find(({ address }) => address === secondMac)), /"vlan":43/)
  await vm.assertCaged()

  const removed = await world.cli('vm', 'nic', 'remove', 'web1', 'net1')

  assert.match(`${removed.stdout}${removed.stderr}`, /NIC net1 is gone/)
  await says('second has gone')
  assert.deepEqual(await functionsOf(pf), before)
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
  await world.assertCleanAudit()
}

/** Takes all virtual functions away behind our back, and waits until they are made again and that is told. */
async function takeAway(
  world: World,
  { nic, pf }: { readonly nic: string; readonly pf: string },
): Promise<void> {
  writeFileSync(`${pciFolder}/${nic}/sriov_numvfs`, '0')
  await eventually(async () => ((await functionsOf(pf)).drivers.length === 2 ? true : undefined), {
    withinMs: 30_000,
    what: 'the virtual functions that somebody took away are made again',
  })
  await eventually(
    async () => {
      const { repairs } = await world.client.call(endpoints.getNetwork, { params })
      return repairs.some(({ detail }) => detail.includes('has 0 virtual functions, and 2 were made'))
        ? true
        : undefined
    },
    { withinMs: 30_000, what: 'the network tells of it' },
  )
}

test('a NIC on a network of virtual functions has one with its MAC address and VLAN, and it goes back however it ends', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const nic = pciOf('0x020000')
  const [pf = ''] = readdirSync(`${pciFolder}/${nic}/net`)
  await sh(`ip link set ${pf} up`)
  await createFast(world, pf)
  const before = await functionsOf(pf)
  assert.deepEqual(before.drivers, [false, false])

  const kernel = await makeGuest(world.place.base, nicInit)
  const vm = await create(world, 'web1', {
    accelerator: 'kvm',
    memory: { size: '256MiB' },
    boot: { kernel: { ...kernel, cmdline: 'console=ttyS0 quiet' } },
    nics: [{ name: 'net0', network: 'fast', mac: guestMac }],
  })
  await vm.start()
  const said = await untilDone(vm, 1)
  assert.match(said, new RegExp(`mac ${guestMac}`))
  assert.match(said, /link 0x1003/)
  const [vf] = (await vm.show()).status.vfs ?? []
  assert.match(
    (await world.cli('vm', 'show', 'web1')).stdout,
    new RegExp(`virtual function ${vf?.address} of ${pf}`),
  )
  assert.match((await world.cli('network', 'show', 'fast')).stdout, new RegExp(`${vf?.address} +VM web1`))
  assert.match(JSON.stringify(await ofGuest(pf)), /"vlan":42/)
  await vm.assertCaged()
  await world.assertCleanAudit()

  await changeFast(world, pf)
  await reach(pf)
  await plugSecond(world, { pf, vm })

  const isBack = () =>
    eventually(async () => (isDeepStrictEqual(await functionsOf(pf), before) ? true : undefined), {
      withinMs: 30_000,
      what: 'the virtual functions are as they were',
    })
  process.kill(await vm.pid(), 'SIGKILL')
  await vm.untilState('crashed')
  await isBack()
  await vm.start()
  const pid = await vm.pid()
  await world.daemon.kill9()
  process.kill(pid, 'SIGKILL')
  await world.startDaemon()
  await vm.untilState('crashed')
  await isBack()

  await takeAway(world, { nic, pf })
  await world.client.call(endpoints.stopNetwork, { params })
  assert.deepEqual((await functionsOf(pf)).drivers, [])
  assert.equal(await sh(`cat ${pciFolder}/${nic}/sriov_drivers_autoprobe`), '1')
})
