/**
 * Devices of the host in a guest: an NVMe disk whose content it reads, and a virtual function of a NIC that it brings up. Both are back
 * with their drivers afterwards, however the VM, its emulator and the daemon end.
 */
import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { eventually } from '../../e2e/machine/eventually.ts'
import { failpointsOf } from '../../e2e/machine/failpoints.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { bootMs, create, diskInit, makeGuest, pciFolder, pciOf, untilDone } from '../testing/device-guest.ts'
import { sh } from '../testing/shell.ts'

const skip = needs('lab', 'root', 'qemu')

/** What the guest does that is given the disk while it runs, and takes it away again: it says what it sees. */
const watchingInit = `${diskInit.slice(0, diskInit.indexOf('until [ -b'))}
echo watching
while :; do
  until [ -b /dev/nvme0n1 ]; do /bin/busybox sleep 0.2; done
  echo "disk $(/bin/busybox head -c 1048576 /dev/nvme0n1 | /bin/busybox sha256sum)"
  echo 1 >/sys/class/nvme/nvme0/device/rom
  echo "rom $(/bin/busybox head -c 70 /sys/class/nvme/nvme0/device/rom | /bin/busybox tail -c 6)"
  while [ -b /dev/nvme0n1 ]; do /bin/busybox sleep 0.2; done
  echo disk has gone
done
`

/** The least that a kernel takes for the ROM of a device, with a word in it (PCI 3.0, section 6.3.1). */
function romWith(word: string): Buffer {
  const rom = Buffer.alloc(1024)
  rom.writeUInt16LE(0xaa55, 0)
  rom.writeUInt16LE(0x1c, 0x18)
  rom.write('PCIR', 0x1c)
  rom.writeUInt16LE(0x18, 0x1c + 0x0a)
  rom.writeUInt16LE(rom.length / 512, 0x1c + 0x10)
  rom.writeUInt8(0x80, 0x1c + 0x15)
  rom.write(word, 64)
  return rom
}

/** Which driver has which device. */
const drivers = () => sh('lspci -Dk | grep -v "Kernel modules"')

/** Makes one virtual function of the NIC, and names what there is to be given away. */
async function makeVf(t: TestContext) {
  const [nic, nvme] = [pciOf('0x020000'), pciOf('0x010802')]
  const [link = ''] = readdirSync(`${pciFolder}/${nic}/net`)
  writeFileSync(`${pciFolder}/${nic}/sriov_numvfs`, '1')
  t.after(() => writeFileSync(`${pciFolder}/${nic}/sriov_numvfs`, '0'))
  const vf = await eventually(
    async () =>
      readdirSync(pciFolder).find((address) => {
        const known = readdirSync(`${pciFolder}/${address}`)
        return known.includes('physfn') && known.includes('driver')
      }),
    { withinMs: 30_000, what: 'the virtual function has a driver' },
  )
  return { nvme, link, vf }
}

test('a disk and a virtual function work in a guest, and go back to the host however it ends', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const { nvme, link, vf } = await makeVf(t)
  const written =
    (await sh('head -c 1M /dev/urandom | tee /dev/nvme0n1 | sha256sum; sync')).split(' ')[0] ?? ''
  const before = await drivers()
  const isBack = () =>
    eventually(async () => ((await drivers()) === before ? true : undefined), {
      withinMs: 30_000,
      what: 'the drivers have their devices again',
    })
  assert.match((await world.cli('host', 'devices')).stdout, new RegExp(`${nvme} .*nvme .*yes: group`))

  const kernel = await makeGuest(world.place.base)
  const vm = await create(world, 'web1', {
    accelerator: 'kvm',
    memory: { size: '256MiB' },
    boot: { kernel: { ...kernel, cmdline: 'console=ttyS0 quiet' } },
    hostDevices: [
      { name: 'disk', address: nvme },
      { name: 'net', vf: link, rom: false },
    ],
  })
  await vm.start()
  const said = await untilDone(vm, 1)
  assert.match(said, new RegExp(`disk ${written}`))
  assert.match(said, /link 0x1003/)
  assert.deepEqual((await vm.show()).status.hostDevices, [
    { name: 'disk', address: nvme },
    { name: 'net', address: vf },
  ])
  await vm.assertCaged()
  await world.assertCleanAudit()
  assert.match((await world.cli('host', 'devices')).stdout, new RegExp(`${nvme} .*vfio-pci .*VM web1`))

  const rival = await create(world, 'db1', {
    hostDevices: [{ name: 'disk', address: nvme }],
    memory: { size: '64MiB' },
  })
  await assert.rejects(rival.start(), /VM web1 has .*so VM db1 cannot have it/)
  await assert.rejects(vm.save(), /has devices of the host/)

  process.kill(await vm.pid(), 'SIGKILL')
  await vm.untilState('crashed')
  await isBack()
  assert.equal(
    await sh('dd if=/dev/nvme0n1 bs=1M skip=2 count=1 status=none iflag=direct | head -1'),
    'from the guest',
  )

  await vm.start()
  await untilDone(vm, 2)
  const pid = await vm.pid()
  await world.daemon.kill9()
  process.kill(pid, 'SIGKILL')
  await world.startDaemon()
  await vm.untilState('crashed')
  await isBack()

  await sh('mkfs.ext4 -qF /dev/nvme0n1 && mkdir -p /mnt/kept && mount /dev/nvme0n1 /mnt/kept')
  try {
    await assert.rejects(vm.start(), /holds \/mnt\/kept \(nvme0n1\), so VM web1 gets it only with force/)
  } finally {
    await sh('umount /mnt/kept')
  }
  await vm.start()
  await vm.powerOff()
  await isBack()
  await world.assertCleanAudit()
})

test('a disk of the host is plugged into a guest that runs, and goes back, also when the daemon dies in between', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const nvme = pciOf('0x010802')
  const written = (await sh('head -c 1M /dev/nvme0n1 | sha256sum')).split(' ')[0] ?? ''
  const before = await drivers()
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const kernel = await makeGuest(world.place.base, watchingInit)
  const rom = join(world.place.base, 'card.rom')
  writeFileSync(rom, romWith('kvasir'))
  const vm = await create(world, 'web1', {
    accelerator: 'kvm',
    memory: { size: '192MiB' },
    boot: { kernel: { ...kernel, cmdline: 'console=ttyS0 quiet' } },
  })
  await vm.start()
  const says = (words: string | RegExp) =>
    eventually(async () => ((await vm.serialLog()).match(words) ? true : undefined), {
      withinMs: bootMs,
      what: `the guest says ${words}`,
    })
  await says('watching')
  await vm.assertCaged()

  await failpoints.arm('emulator.plug-host-device.after-lend', 'exit')
  await world
    .cli('vm', 'host-device', 'add', 'web1', `name=disk,address=${nvme},romFile=${rom}`)
    .catch(() => undefined)
  await world.daemon.exited
  await failpoints.disarm()
  await world.startDaemon(failpoints.environment)

  await says(`disk ${written}`)
  await says('rom kvasir')
  await vm.assertCaged()
  await eventually(
    async () => {
      const { status } = await vm.show()
      return status.hostDevices?.[0]?.address === nvme && status.restartNeeded?.length === 0
        ? true
        : undefined
    },
    { withinMs: 30_000, what: 'the VM has the disk by its row' },
  )
  assert.match((await world.cli('host', 'devices')).stdout, new RegExp(`${nvme} .*vfio-pci .*VM web1`))
  assert.match((await world.cli('vm', 'host-device', 'list', 'web1')).stdout, new RegExp(`disk .*${nvme}`))

  const removed = await world.cli('vm', 'host-device', 'remove', 'web1', 'disk')
  assert.match(`${removed.stdout}${removed.stderr}`, /Host device disk is gone/)
  await says('disk has gone')
  assert.equal(await drivers(), before)
  assert.equal((await sh('head -c 1M /dev/nvme0n1 | sha256sum')).split(' ')[0], written)
  await vm.assertCaged()
  await world.assertCleanAudit()
})
