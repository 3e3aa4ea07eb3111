/** What a host refuses by its state, as a real kernel brings it about: memory in pieces, and a KVM that does not nest. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { sh, shLater } from '../testing/shell.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
const node1 = '/sys/devices/system/node/node1'
const poolFile = `${node1}/hugepages/hugepages-2048kB/nr_hugepages`
const read = (path: string) => readFileSync(path, 'utf8').trim()

/**
 * Takes nearly all memory of node 1, locks every 64th page of it and gives the others back: most of it is free then, and none of it in
 * pieces of 2 MiB. Locked pages stay where they are while compaction leaves them alone (Documentation/admin-guide/sysctl/vm.rst,
 * compact_unevictable_allowed). By number, on x86-64: set_mempolicy 238, mmap 9, madvise 28, mlock2 325.
 */
function fragmenter(bytes: number): string {
  return `perl -e '
    $| = 1;
    my ($size, $piece) = (${bytes}, 64 * 4096);
    my $nodes = pack("Q", 2);
    syscall(238, 2, $nodes, 64) == 0 or die "set_mempolicy: $!";
    my $at = syscall(9, 0, $size, 3, 0x22, -1, 0);
    $at > 0 or die "mmap: $!";
    syscall(28, $at, $size, 15) == 0 or die "madvise: $!";
    open(my $zero, "<", "/dev/zero") or die;
    for (my $done = 0; $done < $size; $done += 1048576) {
      syscall(0, fileno($zero), $at + $done, 1048576) == 1048576 or die "read: $!";
    }
    for (my $done = 0; $done < $size; $done += $piece) {
      syscall(28, $at + $done + 4096, $piece - 4096, 4) == 0 or die "dontneed: $!";
    }
    syscall(325, $at, $size, 1) == 0 or die "mlock2: $!";
    print "ready\\n";
    sleep 600;
  '`
}

function set(t: TestContext, path: string, value: string): void {
  const before = read(path)
  writeFileSync(path, value)
  t.after(() => writeFileSync(path, before))
}

test('where memory lies in pieces, huge pages are refused by how many there were, and those go back', {
  skip,
}, async (t) => {
  await using world = await openWorld(t, { environment: { KVASIR_HUGEPAGES: 'reserve' } })
  const other = await world.bootTiny('other') // The image is there, and so is what starts of VMs keep.
  await other.powerOff()
  set(t, '/proc/sys/vm/compact_unevictable_allowed', '0')
  await sh('echo 3 >/proc/sys/vm/drop_caches')
  const freeBytes = Number(/MemFree:\s+(\d+) kB/.exec(read(`${node1}/meminfo`))?.[1]) * 1024
  const pieces = await shLater(fragmenter(Math.floor((freeBytes - 160 * mib) / mib) * mib))
  t.after(() => pieces.end())
  const before = read(poolFile)
  const memory = { size: 1024 * mib, pageSize: '2MiB' as const, nodes: [1] }

  await assert.rejects(world.bootTiny('web1', { memory }), (error: Error) => {
    t.diagnostic(error.message)
    const got = Number(/could reserve (\d+)/.exec(error.message)?.[1])
    assert.ok(got > 0 && got < 512, error.message)
    assert.match(error.message, /in pieces|fragment/)
    return true
  })

  assert.equal(read(poolFile), before)
  assert.match((await world.vm('web1').show()).status.reason, /huge pages|pages of 2/)
  await world.assertCleanAudit()
})

test('where the module of KVM forbids nesting, a VM that wants it is refused with the way to allow it', {
  skip,
}, async (t) => {
  const reload = (nested: 0 | 1) => sh(`modprobe -r kvm_amd && modprobe kvm_amd nested=${nested}`)
  await reload(0)
  t.after(() => reload(1))
  await using world = await openWorld(t)
  assert.equal(read('/sys/module/kvm_amd/parameters/nested'), '0')

  await assert.rejects(world.bootTiny('wants', { cpu: { nested: true } }), {
    code: 'unsupported',
    message:
      /parameter nested of kvm_amd is off on this host.*modprobe -r kvm_amd && modprobe kvm_amd nested=1/,
  })

  const plain = await world.bootTiny('plain')
  assert.doesNotMatch(await plain.shell('grep -m1 ^flags /proc/cpuinfo'), /\bsvm\b/)
  const shown = await world.cli('host', 'show')
  assert.equal(shown.code, 0, shown.stderr)
  assert.match(shown.stdout, /nested.*(off|N|0)/i)
  await plain.powerOff()
})
