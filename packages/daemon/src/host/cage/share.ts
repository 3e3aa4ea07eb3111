/**
 * The one directory that a VM's process and the daemon share, seen inside the cage as /run/vm.
 *
 * QEMU 7.2 makes its VNC socket itself, so until it has done that the directory belongs to the VM's uid. `sealShare` then gives it to
 * root, and only after that looks at what lies in it: from then on the VM can change nothing there, so a path that was checked stays
 * what it was. Before the seal, root opens nothing in it.
 */
import { chmod, chown, lstat, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Makes the directory, owned by the VM's uid with mode 0700, in place of an older one. Its parents must be closed to everyone but
 * root, and no process of that uid may live.
 */
export async function makeShare(
  path: string,
  owner: { readonly uid: number; readonly gid: number },
): Promise<void> {
  await rm(path, { recursive: true, force: true })
  await mkdir(path, { mode: 0o700 })
  await chown(path, owner.uid, owner.gid)
}

/**
 * Takes the directory away from the VM and returns the names of everything in it that is not a socket of the VM's uid with a name in
 * `sockets`. An honest QEMU leaves none; with any, nothing in the directory may be opened and the VM must be killed. Nothing is removed
 * here, because what lies in a directory that a live VM owns can change under the remover.
 */
export async function sealShare(
  path: string,
  expected: { readonly uid: number; readonly sockets: readonly string[] },
): Promise<readonly string[]> {
  await chown(path, 0, 0)
  await chmod(path, 0o711)
  const strangers: string[] = []
  for (const name of await readdir(path)) {
    const entry = await lstat(join(path, name))
    const isOurs = entry.isSocket() && entry.uid === expected.uid && entry.nlink === 1
    if (!isOurs || !expected.sockets.includes(name)) strangers.push(name)
  }
  return strangers
}
