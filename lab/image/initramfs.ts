/**
 * The lab's initramfs: busybox, the modules of the root disk and a script. Debian's own would carry the drivers of every machine and take
 * longer to make than all the rest.
 */
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { runCommand } from '@kvasir/linux'
import { rootModules } from './packages.ts'

const stepTimeoutMs = 60_000

const init = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /bin/busybox insmod $module; done
for again in $(/bin/busybox seq 100); do [ -b /dev/vda ] && break; /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 -o rw /dev/vda /root || {
  echo 'lab: the root disk cannot be mounted; these are the disks:'
  /bin/busybox ls /dev
  /bin/busybox poweroff -f
}
exec /bin/busybox switch_root /root /usr/bin/busybox init
`

/** Makes the initramfs of an image for its kernel. */
export async function makeInitramfs(
  image: { readonly root: string; readonly folder: string; readonly initrd: string },
  release: string,
): Promise<void> {
  const tree = join(image.folder, 'initramfs')
  for (const folder of ['bin', 'dev', 'root', 'modules']) await mkdir(join(tree, folder), { recursive: true })
  await copyFile(join(image.root, 'usr/bin/busybox'), join(tree, 'bin/busybox'))
  await writeFile(join(tree, 'init'), init, { mode: 0o755 })
  for (const [index, path] of (await modulePaths(image.root, release)).entries()) {
    const number = String(index).padStart(2, '0')
    const name = basename(path).replace(/\.xz$/, '')
    await shell('chroot "$1" xz -dc -- "$2" >"$3"', [
      image.root,
      path,
      join(tree, 'modules', `${number}-${name}`),
    ])
  }
  await shell('cd "$1" && find . | "$2/usr/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1 >"$3"', [
    tree,
    image.root,
    image.initrd,
  ])
  await rm(tree, { recursive: true })
}

/** The files of the modules and of all they depend on, in the order in which they are loaded, each once. */
async function modulePaths(root: string, release: string): Promise<readonly string[]> {
  const paths = new Set<string>()
  for (const name of rootModules) {
    const argv = ['chroot', root, 'modprobe', '--set-version', release, '--show-depends', name]
    const { stdout } = await runCommand(argv, { timeoutMs: stepTimeoutMs })
    for (const line of stdout.split('\n')) {
      const path = /^insmod (\S+)/.exec(line)?.[1]
      if (path !== undefined) paths.add(path)
    }
  }
  return [...paths]
}

async function shell(script: string, args: readonly string[]): Promise<void> {
  await runCommand(['/bin/sh', '-ec', script, 'sh', ...args], { timeoutMs: stepTimeoutMs })
}
