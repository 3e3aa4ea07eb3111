/** Guests that are given devices of the host: a kernel, drivers, and a program that uses the devices and says so on the console. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { endpoints, type VmSpecInput } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import type { VmHandle } from '../../e2e/machine/vm-handle.ts'
import type { World } from '../../e2e/machine/world.ts'
import { sh } from './shell.ts'

/** How long a guest in the lab may take to boot. */
export const bootMs = 120_000

/** How long the guest may take for all of it; it boots and is done in some ten seconds. */
const doneMs = 40_000

/** Where the kernel shows PCI functions. */
export const pciFolder = '/sys/bus/pci/devices'
const read = (path: string) => readFileSync(path, 'utf8').trim()
/** The first function of a class. */
export const pciOf = (pciClass: string) =>
  readdirSync(pciFolder).find((address) => read(`${pciFolder}/${address}/class`) === pciClass) ??
  assert.fail(`no PCI device of class ${pciClass}`)

/** What the guest does: it loads drivers, reads the disk, brings the link up, and says so on its console. */
export const diskInit = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
for module in $(/bin/busybox cat /modules); do /bin/busybox insmod /m/$module; done
until [ -b /dev/nvme0n1 ]; do /bin/busybox sleep 0.2; done
echo "disk $(/bin/busybox head -c 1048576 /dev/nvme0n1 | /bin/busybox sha256sum)"
echo from the guest | /bin/busybox dd of=/dev/nvme0n1 bs=1M seek=2 conv=fsync
until [ -e /sys/class/net/eth0 ]; do /bin/busybox sleep 0.2; done
/bin/busybox ip link set eth0 up && echo "link $(/bin/busybox cat /sys/class/net/eth0/flags)"
echo all done
while :; do /bin/busybox sleep 60; done
`

/** A kernel and an initramfs that has the drivers. */
export async function makeGuest(
  folder: string,
  program = diskInit,
  drivers: readonly string[] = ['nvme', 'igbvf'],
): Promise<{ readonly kernel: string; readonly initrd: string }> {
  const root = join(folder, 'guest')
  await sh(`mkdir -p ${root}/bin ${root}/m && cp /bin/busybox ${root}/bin/busybox`)
  writeFileSync(join(root, 'init'), program, { mode: 0o755 })
  await sh(`
    for name in ${drivers.join(' ')}; do modprobe --show-depends $name; done | awk '$1 == "insmod" { print $2 }' | while read path; do
      plain=$(basename $path | sed 's/\\.xz$//; s/\\.zst$//')
      [ -e ${root}/m/$plain ] && continue
      case $path in *.xz) xz -dc $path ;; *.zst) zstd -dcq $path ;; *) cat $path ;; esac >${root}/m/$plain
      echo $plain >>${root}/modules
    done`)
  await sh(`cd ${root} && find . | cpio -o -H newc --quiet | gzip -1 >${folder}/guest.img`)
  return { kernel: await sh('ls /boot/vmlinuz-* | tail -1'), initrd: `${folder}/guest.img` }
}

/** Creates a VM of this spec. */
export async function create(world: World, name: string, spec: VmSpecInput): Promise<VmHandle> {
  await world.client.call(endpoints.createVm, { body: { name, spec } })
  return world.vm(name)
}

/** Waits until the guest has said all of it once more, and answers that. */
export async function untilDone(vm: VmHandle, times: number): Promise<string> {
  let said = ''
  try {
    return await eventually(
      async () => {
        said = await vm.serialLog()
        const parts = said.split('all done')
        return parts.length > times ? parts[times - 1] : undefined
      },
      { withinMs: doneMs, what: 'the guest is done' },
    )
  } catch (cause) {
    const { status } = await vm.show()
    throw new Error(`${status.state}; the guest said: ${said.slice(-2_000)}`, { cause })
  }
}
