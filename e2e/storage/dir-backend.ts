/** Pools that are folders, of raw and of qcow2 files. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Volume } from '@kvasir/contract'
import type { BadInput, OpenBackend, StorageBackend } from './backend.ts'

const run = promisify(execFile)

/** A folder with volumes of a format. */
export function dirBackend(format: 'raw' | 'qcow2'): StorageBackend {
  return {
    name: `dir (${format})`,
    format,
    async open(_t, world, cli): Promise<OpenBackend> {
      const path = join(world.place.base, 'tested')
      await mkdir(path, { mode: 0o700 })
      const hostile = join(world.place.base, 'hostile')
      await mkdir(hostile, { mode: 0o700 })
      await cli.run('pool', 'create', 'hostile', '--path', hostile)
      return {
        pool: ['--path', path],
        badPools: badPools(hostile),
        bad: await badFiles(hostile),
        differences: (volumes) => differences(path, volumes),
      }
    },
  }
}

function badPools(taken: string): readonly BadInput[] {
  return [
    {
      argv: ['pool', 'create', 'bad', '--path', '/proc/self/status'],
      says: /operating system/,
    },
    { argv: ['pool', 'create', 'bad', '--path', taken], says: /pool/ },
  ]
}

/** Files that lie in a pool of their own and are to be imported by nobody. */
async function badFiles(hostile: string): Promise<readonly BadInput[]> {
  const at = (name: string) => join(hostile, name)
  const qcow2 = (name: string, ...args: readonly string[]) =>
    run('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', ...args, at(name), '8M'])
  await qcow2('absolute.qcow2', '-F', 'raw', '-b', '/etc/shadow')
  await qcow2('loop1.qcow2', '-F', 'qcow2', '-b', 'loop2.qcow2')
  await qcow2('loop2.qcow2', '-F', 'qcow2', '-b', 'loop1.qcow2')
  await qcow2('plain.qcow2')
  await writeFile(at('noise.qcow2'), 'QFI\xfb and then nothing that could be its tables')
  for (const format of ['vmdk', 'vdi', 'vhdx'])
    await run('qemu-img', ['create', '-q', '-f', format, at(`other.${format}`), '8M'])
  await writeFile(at('odd.raw'), Buffer.alloc(1000))
  await writeFile(at('empty.raw'), '')
  await symlink('/etc/shadow', at('link.raw'))
  const adopt = (file: string, format: string, says: RegExp): BadInput => ({
    argv: ['volume', 'import', 'hostile/bad', file, '--format', format],
    says,
  })
  return [
    adopt('absolute.qcow2', 'qcow2', /lies on another file \(\/etc\/shadow\)/),
    adopt('absolute.qcow2', 'raw', /is a qcow2 image, not raw/),
    adopt('loop1.qcow2', 'qcow2', /lies on another file \(loop2.qcow2\)/),
    adopt('noise.qcow2', 'qcow2', /not a qcow2 image|damaged/),
    adopt('other.vmdk', 'raw', /is a VMDK image.*qemu-img convert/),
    adopt('other.vdi', 'raw', /is a VDI image/),
    adopt('other.vhdx', 'raw', /is a VHDX image/),
    adopt('odd.raw', 'raw', /no whole number of sectors/),
    adopt('empty.raw', 'raw', /empty/),
    adopt('link.raw', 'raw', /no regular file/),
    adopt('../state/kvasir.db', 'raw', /not the name of a file/),
    adopt('/etc/shadow', 'raw', /not the name of a file/),
    adopt('nothing.raw', 'raw', /nothing called/),
  ]
}

/** What the headers of the files say, against what was recorded. */
async function differences(path: string, volumes: readonly Volume[]): Promise<readonly string[]> {
  const names = await readdir(path).catch(() => []) // It goes with the pool.
  const there = names.filter((name) => !name.startsWith('.')).map((name) => join(path, name))
  const recorded = new Map(volumes.map((volume) => [volume.path ?? '', volume]))
  const problems = there
    .filter((file) => !recorded.has(file))
    .map((file) => `${file} is there and no volume.`)
  for (const [file, volume] of recorded) {
    if (!there.includes(file)) {
      problems.push(`${file} of volume ${volume.name} is not there.`)
      continue
    }
    const { stdout } = await run('qemu-img', ['info', '-U', '--backing-chain', '--output=json', file])
    const links: readonly { readonly filename: string; readonly format: string }[] = JSON.parse(stdout)
    const chain = links.slice(1).map(({ filename }) => filename)
    const byName = new Map(volumes.map((one) => [one.name, one.path]))
    const wanted = (volume.chain ?? []).map(({ name }) => byName.get(name))
    if (links[0]?.format !== volume.format || chain.join(' ') !== wanted.join(' '))
      problems.push(
        `${volume.name} is ${links[0]?.format} on ${chain.join(', ')}, and not on ${wanted.join(', ')}.`,
      )
  }
  return problems
}
