import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { host, hostTopology } from '@kvasir/contract'
import { writeMachine } from '@kvasir/linux/testing/machine-files'
import { machines } from '@kvasir/linux/testing/machines'
import { kvasir } from '../testing/run-command-line.ts'

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-captured-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Nothing listens where the command line would look for a daemon. */
async function inspect(verb: 'show' | 'topology', root: string, format = 'json') {
  return await kvasir(['host', verb, '--root', root, '-o', format])
}

test('the topology of a captured host is that of the contract, without a daemon', async (t) => {
  const root = newFolder(t)
  await writeMachine(machines['offline-siblings'](), root)

  const { code, stdout, stderr } = await inspect('topology', root)

  assert.deepEqual([code, stderr], [0, ''])
  const topology = hostTopology.parse(JSON.parse(stdout))
  assert.deepEqual([topology.cores.length, topology.offline], [4, [9, 11]])
})

test('what a captured host can do is that of the contract but for what only the host itself can tell', async (t) => {
  const root = newFolder(t)
  await writeMachine(machines['offline-siblings'](), root)

  const { code, stdout } = await inspect('show', root)
  const people = await inspect('show', root, 'table')

  assert.equal(code, 0)
  const captured = host.omit({ hostname: true, accelerator: true, qemu: true, vsock: true })
  assert.equal(captured.parse(JSON.parse(stdout)).memory.nodes.length, 2)
  assert.match(people.stdout, /^KVM +not usable: what was captured of this host says nothing of modules$/m)
  assert.match(people.stdout, /^zswap +absent$/m)
})

/** A server with all parts, as far as its files matter. */
const serverFiles = {
  '/proc/cpuinfo':
    'processor : 0\nvendor_id : AuthenticAMD\nmodel name : EPYC\nflags : lm svm npt avic pdpe1gb\n',
  '/proc/sys/kernel/osrelease': '6.12.0',
  '/proc/sys/kernel/arch': 'x86_64',
  '/proc/meminfo':
    'MemTotal: 4194304 kB\nMemAvailable: 2097152 kB\nSwapTotal: 1048576 kB\nSwapFree: 1048576 kB\n',
  '/sys/module/kvm/parameters/halt_poll_ns': '200000',
  '/sys/module/kvm_amd/parameters/nested': '1',
  '/sys/module/kvm_amd/parameters/npt': 'Y',
  '/sys/class/misc/kvm/dev': '10:232',
  '/sys/class/iommu/ivhd0/devices/x': '',
  '/sys/kernel/iommu_groups/1/devices/0000:01:00.0/x': '',
  '/sys/kernel/iommu_groups/2/devices/0000:02:00.0/x': '',
  '/sys/kernel/iommu_groups/2/devices/0000:03:00.0/x': '',
  '/sys/bus/pci/devices/0000:01:00.0/class': '0x020000',
  '/sys/bus/pci/devices/0000:01:00.0/sriov_totalvfs': '7',
  '/sys/bus/pci/devices/0000:01:00.0/driver': '-> ../../drivers/igb',
  '/sys/bus/pci/devices/0000:01:00.0/virtfn0': '-> ../0000:01:10.0',
  '/sys/bus/pci/devices/0000:01:10.0/class': '0x020000',
  '/sys/bus/pci/devices/0000:01:10.0/driver': '-> ../../drivers/vfio-pci',
  '/sys/bus/pci/devices/0000:02:00.0/class': '0x010802',
  '/sys/bus/pci/devices/0000:03:00.0/class': '0x0c0330',
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids',
  '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '512',
  '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages': '500',
  '/sys/kernel/mm/ksm/run': '1',
  '/sys/kernel/mm/ksm/pages_sharing': '1024',
  '/usr/share/qemu/firmware/60-x.json': JSON.stringify({
    description: 'UEFI',
    'interface-types': ['uefi'],
    mapping: { device: 'memory', filename: '/usr/share/OVMF/OVMF.fd' },
    targets: [],
  }),
}

test('a server with all parts is shown with what people look for', async (t) => {
  const root = newFolder(t)
  await writeMachine(new Map([...machines['offline-siblings'](), ...Object.entries(serverFiles)]), root)

  const { stdout } = await inspect('show', root, 'table')

  for (const line of [
    /^CPU +6 x EPYC \(AuthenticAMD\)$/m,
    /^KVM +usable: kvm_amd is loaded and made the device$/m,
    /^KVM modules +kvm halt_poll_ns=200000\n +kvm_amd nested=1 npt=Y$/m,
    /^Nested +on$/m,
    /^IOMMU +on \(AMD-Vi\): the kernel translates for devices and made 2 groups$/m,
    /^IOMMU groups +1 of 2 can be assigned to a VM\n +not group 2: nothing isolates .*NVMe.*USB/m,
    /^SR-IOV +0000:01:00.0 \(igb\): 1 of 7 VFs exist, 1 used, 6 free$/m,
    /^Hugepages +2 MiB: 500 of 512 free, 0 reserved/m,
    /^KSM +on, saves 4 MiB$/m,
    /^Cgroups +v2, controllers cpuset cpu io memory pids$/m,
    /^Firmware +\/usr\/share\/OVMF\/OVMF.fd \(uefi\): not installed$/m,
  ])
    assert.match(stdout, line)
})

for (const verb of ['show', 'topology'] as const) {
  test(`host ${verb} refuses a root that is missing, a file, or no host`, async (t) => {
    const folder = newFolder(t)
    writeFileSync(join(folder, 'file'), '')

    for (const [root, sentence] of [
      [join(folder, 'none'), /is not a directory that can be read/],
      [join(folder, 'file'), /holds no CPU/],
      [folder, /holds no CPU in sys\/devices\/system\/cpu/],
    ] as const) {
      const { code, stdout, stderr } = await inspect(verb, root)
      assert.deepEqual([code, stdout], [3, ''])
      assert.match(stderr, sentence)
    }
  })

  test(`host ${verb} survives garbage in every file`, async (t) => {
    const root = newFolder(t)
    const garbage = '\u0007\ufffd0-4294967295,ffffffff,99999999999999999999'
    const files = new Map(
      [...machines['dual-epyc-nps4']().keys()]
        .filter((path) => /cpu[0-3]\//.test(path))
        .map((path) => [path, garbage]),
    )
    await writeMachine(files, root)
    mkdirSync(join(root, 'proc/cpuinfo'), { recursive: true })

    const { code, stderr } = await inspect(verb, root, 'table')

    // With CPUs that nothing is known of there is a topology, and no host.
    assert.equal(code, verb === 'topology' ? 0 : 3, stderr)
  })
}
