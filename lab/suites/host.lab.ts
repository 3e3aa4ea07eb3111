/**
 * The lab is a whole KVM host: every part that the other suites count on is there and does its work, as the kernel says it.
 *
 * Not here: what Kvasir makes of it.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { sh, shLater } from '../testing/shell.ts'

const skip = needs('lab', 'root')

const read = (path: string) => readFileSync(path, 'utf8').trim()
const pciOf = (pciClass: string) =>
  readdirSync('/sys/bus/pci/devices').find(
    (address) => read(`/sys/bus/pci/devices/${address}/class`) === pciClass,
  ) ?? assert.fail(`no PCI device of class ${pciClass}`)
const nic = () => pciOf('0x020000')
const nvme = () => pciOf('0x010802')

test('the processor offers SVM, and kvm-amd uses nested paging and allows nesting', { skip }, async () => {
  assert.match(read('/proc/cpuinfo'), /^flags\s*:.*\bsvm\b.*\bnpt\b/m)
  assert.equal(read('/sys/module/kvm_amd/parameters/npt'), 'Y')
  assert.equal(read('/sys/module/kvm_amd/parameters/nested'), '1')
  assert.equal(await sh('stat -c "%F %G %a" /dev/kvm'), 'character special file kvm 660')
  assert.equal(await sh('stat -c %F /dev/vhost-vsock'), 'character special file')
})

test('four CPUs and their memory are on two NUMA nodes that are apart', { skip }, () => {
  const nodes = '/sys/devices/system/node'

  assert.equal(read(`${nodes}/online`), '0-1')
  assert.equal(read(`${nodes}/node0/cpulist`), '0-1')
  assert.equal(read(`${nodes}/node1/cpulist`), '2-3')
  assert.equal(read(`${nodes}/node0/distance`), '10 21')
  for (const node of [0, 1]) {
    const kibibytes = Number(/MemTotal:\s+(\d+) kB/.exec(read(`${nodes}/node${node}/meminfo`))?.[1])
    assert.ok(kibibytes > 2.5 * 1024 * 1024, `node ${node} has ${kibibytes} KiB`)
  }
})

test('the NIC and the NVMe disk are alone in their IOMMU groups, each near another node', { skip }, () => {
  for (const [address, node] of [
    [nic(), '0'],
    [nvme(), '1'],
  ] as const) {
    const device = `/sys/bus/pci/devices/${address}`
    assert.deepEqual(readdirSync(`${device}/iommu_group/devices`), [address])
    assert.equal(read(`${device}/numa_node`), node)
  }
})

test('the NIC makes two virtual functions, each in a group of its own', { skip }, async () => {
  const device = `/sys/bus/pci/devices/${nic()}`
  assert.equal(read(`${device}/sriov_totalvfs`), '7')

  writeFileSync(`${device}/sriov_numvfs`, '2')
  try {
    const links = readdirSync(device).filter((name) => name.startsWith('virtfn'))
    assert.equal(links.length, 2)
    for (const link of links)
      assert.equal(readdirSync(`${device}/${link}/iommu_group/devices`).length, 1, link)
    assert.match(await sh('lspci'), /82576 Virtual Function/)
  } finally {
    writeFileSync(`${device}/sriov_numvfs`, '0')
  }
})

test('the NVMe disk keeps what is written to it', { skip }, async () => {
  const written = await sh('head -c 1M /dev/urandom | tee /dev/nvme0n1 | sha256sum; sync')

  assert.equal(await sh('blockdev --flushbufs /dev/nvme0n1; head -c 1M /dev/nvme0n1 | sha256sum'), written)
})

test('cgroup v2 hands its controllers down, and weighs and limits', { skip }, async () => {
  const controllers = read('/sys/fs/cgroup/cgroup.subtree_control').split(' ')
  for (const wanted of ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids'])
    assert.ok(controllers.includes(wanted), wanted)

  const group = '/sys/fs/cgroup/host-lab'
  try {
    await sh(`mkdir ${group} && echo 2-3 >${group}/cpuset.cpus && echo 1 >${group}/cpuset.mems`)
    assert.equal(await sh(`echo 0 >${group}/cgroup.procs; echo $$ >${group}/cgroup.procs; nproc`), '2')
    assert.match(read(`${group}/cpu.pressure`), /^some avg10=/)
  } finally {
    await sh(`echo 1 >${group}/cgroup.kill; rmdir ${group}`)
  }
})

for (const [size, pages] of [
  ['2048kB', 16],
  ['1048576kB', 1],
] as const) {
  test(`huge pages of ${size} can be had on node 1`, { skip }, () => {
    const file = `/sys/devices/system/node/node1/hugepages/hugepages-${size}/nr_hugepages`
    try {
      writeFileSync(file, String(pages))
      assert.equal(read(file), String(pages))
    } finally {
      writeFileSync(file, '0')
    }
  })
}

test('the device mapper thins: a pool of 64 MiB holds a volume of 1 GiB', { skip }, async () => {
  try {
    await sh('truncate -s 16M /tmp/thin-meta && truncate -s 64M /tmp/thin-data')
    const meta = await sh('losetup -f --show /tmp/thin-meta')
    const data = await sh('losetup -f --show /tmp/thin-data')
    await sh(`dmsetup create lab-pool --table '0 131072 thin-pool ${meta} ${data} 128 0'`)
    await sh("dmsetup message /dev/mapper/lab-pool 0 'create_thin 0'")
    await sh("dmsetup create lab-thin --table '0 2097152 thin /dev/mapper/lab-pool 0'")

    assert.equal(await sh('blockdev --getsize64 /dev/mapper/lab-thin'), String(1024 ** 3))
    assert.match(await sh('dmsetup status lab-pool'), /thin-pool/)
  } finally {
    await sh('dmsetup remove lab-thin; dmsetup remove lab-pool; losetup -D; rm -f /tmp/thin-*')
  }
})

test('LVM makes a thin pool on the spare disk', { skip }, async () => {
  try {
    await sh('pvcreate -q /dev/vdb && vgcreate -q lab /dev/vdb')
    await sh(
      'lvcreate -q --type thin-pool -L 256M -n pool lab && lvcreate -q -V 1G --thinpool pool -n thin lab',
    )

    assert.equal(await sh('lvs --noheadings -o lv_name,pool_lv lab/thin | xargs'), 'thin pool')
  } finally {
    await sh('vgremove -q -f lab; pvremove -q /dev/vdb; true')
  }
})

test('KSM merges equal pages', { skip }, async () => {
  const program = `perl -e 'my $p = pack("A4096", "same"); my $s = $p x 512; syscall(157, 67, 1, 0, 0, 0) == 0 or die; print "ready\\n"; $| = 1; sleep 60'`
  writeFileSync('/sys/kernel/mm/ksm/pages_to_scan', '5000')
  writeFileSync('/sys/kernel/mm/ksm/run', '1')
  const child = await shLater(program)
  try {
    await sh(
      'for i in $(seq 100); do [ "$(cat /sys/kernel/mm/ksm/pages_sharing)" -gt 100 ] && exit; sleep 0.3; done; exit 1',
    )
  } finally {
    child.end()
    writeFileSync('/sys/kernel/mm/ksm/run', '2')
  }
})

test('zswap is on and there is swap behind it', { skip }, async () => {
  assert.equal(read('/sys/module/zswap/parameters/enabled'), 'Y')
  assert.match(await sh('swapon --noheadings --show=NAME'), /vdc/)
})

test('nftables takes a table of rules and gives it back as JSON', { skip }, async () => {
  try {
    await sh("nft add table inet lab && nft 'add chain inet lab in { type filter hook input priority 0; }'")
    await sh('nft add rule inet lab in tcp dport 4711 counter drop')

    assert.match(await sh('nft -j list table inet lab'), /4711/)
  } finally {
    await sh('nft delete table inet lab')
  }
})

test('bridges, taps, macvtaps and network namespaces can be made', { skip }, async () => {
  try {
    await sh(
      'ip link add lab0 type bridge && ip tuntap add labtap mode tap && ip link set labtap master lab0',
    )
    await sh('ip link add link eth0 name labmac type macvtap mode bridge && ip netns add lab')

    assert.match(await sh('ip -j link show master lab0'), /labtap/)
  } finally {
    await sh('ip netns del lab; ip link del labmac; ip link del labtap; ip link del lab0')
  }
})

test('an NFS export is served, mounted and written to', { skip }, async () => {
  try {
    await sh('mkdir -p /mnt/lab-nfs && mount -t nfs -o vers=4.2 127.0.0.1:/ /mnt/lab-nfs')
    await sh('echo hello >/mnt/lab-nfs/file')

    assert.equal(read('/srv/nfs/file'), 'hello')
  } finally {
    await sh('umount /mnt/lab-nfs; rm -f /srv/nfs/file')
  }
})

test('an iSCSI target is found, logged in to, and its disk read', { skip }, async () => {
  try {
    await sh('iscsiadm -m discovery -t sendtargets -p 127.0.0.1 && iscsiadm -m node --login')
    await sh('for i in $(seq 100); do [ -b /dev/sda ] && exit; sleep 0.2; done; exit 1')

    assert.equal(await sh('blockdev --getsize64 /dev/sda'), String(256 * 1024 ** 2))
  } finally {
    await sh('iscsiadm -m node --logout; iscsiadm -m node -o delete')
  }
})

test('vfio-pci takes the NVMe disk and gives it back', { skip }, async () => {
  const address = nvme()
  const device = `/sys/bus/pci/devices/${address}`
  const group = await sh(`basename $(readlink ${device}/iommu_group)`)
  try {
    await sh(`echo vfio-pci >${device}/driver_override && echo ${address} >${device}/driver/unbind`)
    await sh(`echo ${address} >/sys/bus/pci/drivers_probe`)

    assert.equal(await sh(`stat -c %F /dev/vfio/${group}`), 'character special file')
  } finally {
    await sh(`echo ${address} >${device}/driver/unbind; echo >${device}/driver_override`)
    await sh(`echo ${address} >/sys/bus/pci/drivers_probe`)
  }
})
