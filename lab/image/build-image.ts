/**
 * Builds the lab's image from Debian packages: a root file system, a disk made of it, a kernel and an initramfs.
 *
 *     <cache>/<digest>/root/        the file system as a folder
 *                      emulator/    the QEMU that runs the lab, with all it needs: newer than the one in it, where there is one
 *                      disk.img     ext4, never written to: labs write to overlays
 *                      vmlinuz, initrd
 *
 * The packages are unpacked and not configured, which
 * takes a fifth of the time; what their scripts would have done and the lab needs is done here. An image is there whole or not at all,
 * and all checkouts on a machine that have the same recipe share it.
 *
 * Not here: which packages (packages.ts), which archives (archive.ts), what is laid over them (root/), the machine (machine/).
 */
import { existsSync } from 'node:fs'
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { runCommand } from '@kvasir/linux'
import { lockFile } from '../machine/file-lock.ts'
import { archiveLines } from './archive.ts'
import { makeInitramfs } from './initramfs.ts'
import { emulatorPackages, emulatorSuite, labPackages, labSuite } from './packages.ts'
import { recipeDigest } from './recipe-digest.ts'

const unpackTimeoutMs = 1_800_000
const stepTimeoutMs = 300_000
const diskSize = '3G'
const partialName = '.partial'
const unusedDays = 7
/** The groups that udev's rules name and systemd would have made. */
const systemGroups = ['kvm', 'render', 'input', 'sgx', 'clock']
const lastSystemGroup = 992
const groupLine = (name: string, index: number) => `${name}:x:${lastSystemGroup - index}:\n`

/** A built image. */
export interface LabImage {
  readonly digest: string
  readonly folder: string
  readonly root: string
  readonly emulator: string
  readonly disk: string
  readonly kernel: string
  readonly initrd: string
}

/** Gives the image of this checkout's recipe, built when it is not in the cache; takes those away that nobody used for long. */
export async function provideImage(cache: string, say: (line: string) => void): Promise<LabImage> {
  const digest = recipeDigest()
  const image = imageIn(join(cache, digest), digest)
  await mkdir(cache, { recursive: true, mode: 0o700 })
  await using _lock = await lockFile(join(cache, 'build.lock'), {
    kind: 'exclusive',
    onWait: () => say('Another process builds a lab; this one waits for it ...'),
  })
  if (!existsSync(image.folder)) await build(image, { cache, say })
  const now = new Date()
  await utimes(image.folder, now, now)
  return image
}

async function build(
  image: LabImage,
  { cache, say }: { readonly cache: string; readonly say: (line: string) => void },
): Promise<void> {
  const startedAt = performance.now()
  await clearCache(cache)
  say(`Building the lab from ${labPackages.length} Debian packages and what they depend on ...`)
  const partial = join(cache, partialName)
  try {
    await buildInto(imageIn(partial, image.digest), say)
    await rename(partial, image.folder)
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
  say(`Built in ${seconds(startedAt)} s.`)
}

/** Removes what a build left that was killed, and the images of recipes that no checkout used for long. */
async function clearCache(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const folder = join(cache, name)
    const isOld =
      /^[0-9a-f]{16}$/.test(name) && Date.now() - (await stat(folder)).mtimeMs > unusedDays * 86_400_000
    if (name === partialName || isOld) await rm(folder, { recursive: true, force: true })
  }
}

function imageIn(folder: string, digest: string): LabImage {
  const inFolder = (name: string) => join(folder, name)
  return {
    digest,
    folder,
    root: inFolder('root'),
    emulator: inFolder('emulator'),
    disk: inFolder('disk.img'),
    kernel: inFolder('vmlinuz'),
    initrd: inFolder('initrd'),
  }
}

async function buildInto(image: LabImage, say: (line: string) => void): Promise<void> {
  await mkdir(image.folder, { recursive: true, mode: 0o700 })
  const steps: readonly (readonly [string, () => Promise<void>])[] = [
    [
      'packages',
      async () => unpackPackages(image.root, { names: labPackages, lines: await archiveLines([labSuite]) }),
    ],
    ['emulator', () => unpackEmulator(image.emulator, say)],
    ['root', () => finishRoot(image.root)],
    ['kernel', () => takeKernel(image)],
    ['disk', () => makeDisk(image)],
  ]
  for (const [name, step] of steps) {
    const startedAt = performance.now()
    await step()
    say(`  ${name.padEnd(9)} ${seconds(startedAt).padStart(6)} s`)
  }
}

/** Takes the newer QEMU, which loses no interrupts between the threads of its CPUs; where the archive has none, the release's own. */
async function unpackEmulator(folder: string, say: (line: string) => void): Promise<void> {
  const names = emulatorPackages
  try {
    const lines = await archiveLines([labSuite, emulatorSuite])
    await unpackPackages(folder, { names, lines, preferred: emulatorSuite })
  } catch (error) {
    say(`There is no emulator from ${emulatorSuite}, so it is that of ${labSuite}: ${String(error)}`)
    await rm(folder, { recursive: true, force: true })
    await unpackPackages(folder, { names, lines: await archiveLines([labSuite]) })
  }
}

interface Unpacking {
  readonly names: readonly string[]
  /** The archives, as a sources.list names them. */
  readonly lines: readonly string[]
  /** The suite whose packages go before newer ones. */
  readonly preferred?: string
}

/** mmdebstrap runs in namespaces of its own, so that it leaves no mounts however it ends. */
async function unpackPackages(root: string, { names, lines, preferred }: Unpacking): Promise<void> {
  const alone = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ]
  const withUmask = ['/bin/sh', '-c', 'umask 022 && exec "$@"', 'sh']
  const bootstrap = ['mmdebstrap', '--quiet', '--mode=root', '--variant=extract', '--format=directory']
  const argv = [
    ...alone,
    '--',
    ...withUmask,
    ...bootstrap,
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Retries "3"',
    ...(preferred === undefined ? [] : [`--aptopt=APT::Default-Release "${preferred}"`]),
    `--include=${names.join(',')}`,
    labSuite,
    root,
    ...lines,
  ]
  await runCommand(argv, { timeoutMs: unpackTimeoutMs, endsWithUs: true, env: { HOME: '/root' } })
}

/** What is never looked at in a lab. Licences stay where they are. */
const leftOut = ['man', 'locale', 'info', 'i18n', 'gitweb', 'vim/vim91/doc', 'qemu/edk2-aarch64-code.fd']
/** What update-alternatives would have linked. */
const alternatives = { awk: 'mawk', which: 'which.debianutils', vi: 'vim.tiny', pager: 'less' }

async function finishRoot(root: string): Promise<void> {
  for (const name of leftOut) await rm(join(root, 'usr/share', name), { recursive: true, force: true })
  for (const name of ['apt/sources.list', 'apt/sources.list.d', 'resolv.conf'])
    await rm(join(root, 'etc', name), { recursive: true, force: true })
  await copyFile(join(root, 'usr/share/base-passwd/passwd.master'), join(root, 'etc/passwd'))
  const groups = await readFile(join(root, 'usr/share/base-passwd/group.master'), 'utf8')
  await writeFile(join(root, 'etc/group'), [groups, ...systemGroups.map(groupLine)].join(''))
  for (const [name, program] of Object.entries(alternatives)) {
    const link = join(root, 'usr/bin', name)
    if (existsSync(join(root, 'usr/bin', program)) && !existsSync(link)) await symlink(program, link)
  }
  await cp(join(import.meta.dirname, 'root'), root, { recursive: true })
  const agent = await readFile(join(import.meta.dirname, '../agent/agent.ts'), 'utf8')
  await writeFile(join(root, 'usr/lib/kvasir-lab/agent.mjs'), stripTypeScriptTypes(agent))
  await mkdir(join(root, 'usr/local/bin'), { recursive: true })
  await copyFile(process.execPath, join(root, 'usr/local/bin/node'))
  await chmod(join(root, 'usr/local/bin/node'), 0o755)
  await inRoot(root, ['ldconfig'])
  await inRoot(root, ['depmod', await kernelRelease(root)])
}

async function takeKernel(image: LabImage): Promise<void> {
  const release = await kernelRelease(image.root)
  await copyFile(join(image.root, `boot/vmlinuz-${release}`), image.kernel)
  await makeInitramfs(image, release)
}

async function makeDisk({ root, disk }: LabImage): Promise<void> {
  // No journal: an overlay over it is thrown away or comes back from a snapshot, and is never repaired.
  const argv = [
    'mke2fs',
    '-q',
    '-F',
    '-t',
    'ext4',
    '-O',
    '^has_journal',
    '-m',
    '0',
    '-d',
    root,
    disk,
    diskSize,
  ]
  await runCommand(argv, { timeoutMs: stepTimeoutMs })
}

async function kernelRelease(root: string): Promise<string> {
  const [release] = await readdir(join(root, 'usr/lib/modules'))
  if (release === undefined)
    throw new Error('The package linux-image-amd64 brought no kernel, so there is no lab.')
  return release
}

async function inRoot(root: string, argv: readonly string[]): Promise<void> {
  await runCommand(['chroot', root, ...argv], { timeoutMs: stepTimeoutMs })
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1)
}
