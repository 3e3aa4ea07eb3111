import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Image, type ImportFormat, KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { openTestJail, type TestJail } from '../jail/testing/test-jail.ts'
import { type ImageShelf, openImageShelf } from './image-files.ts'
import { importDisk } from './import-disk.ts'
import { openWorkDir, type WorkDir } from './work-dir.ts'

const pattern = Buffer.alloc(1024 * 1024, 'kvasir was here ')

describe('import of disk images', { skip: needs('root', 'qemu') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-import-'))
  let jail: TestJail
  let shelf: ImageShelf
  let work: WorkDir

  before(async () => {
    jail = await openTestJail()
    shelf = await openImageShelf(join(folder, 'images'))
    work = await openWorkDir(join(folder, 'work'))
    writeFileSync(join(folder, 'disk.raw'), pattern)
    truncateSync(join(folder, 'disk.raw'), 4 * 1024 * 1024)
  })

  after(async () => {
    await jail[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const qemuImg = (...argv: readonly string[]): void => {
    execFileSync('qemu-img', argv, { cwd: folder, stdio: 'pipe' })
  }

  const importFile = (path: string, format?: ImportFormat, signal?: AbortSignal): Promise<Image> =>
    importDisk(
      {
        shelf,
        work,
        jailed: jail.jailed,
        clock: { now: () => new Date().toISOString() },
      },
      {
        request: { path, name: 'foreign', source: `file ${path}`, format, isOurs: false },
        options: { signal: signal ?? AbortSignal.timeout(60_000), onProgress: () => {} },
      },
    )

  const refuses = async (path: string, reason: RegExp, format?: ImportFormat): Promise<void> => {
    await assert.rejects(importFile(path, format), (error) => {
      assert.ok(error instanceof KvasirError, String(error))
      assert.match(error.message, reason)
      return error.code === 'image-refused' || error.code === 'file-not-found'
    })
    assert.deepEqual(readdirSync(work.scratch), [], 'scratch is empty again')
    assert.ok(readdirSync(join(folder, 'images')).every((name) => /^[0-9a-f]{64}$/.test(name)))
  }

  for (const format of ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'] as const) {
    test(`a ${format} image becomes a read-only qcow2 with the same content`, async () => {
      const path = join(folder, `good.${format}`)
      qemuImg('convert', '-f', 'raw', '-O', format, 'disk.raw', path)
      chmodSync(path, 0o600)

      const image = await importFile(path, format === 'raw' ? 'raw' : undefined)

      const { disk } = shelf.paths(image.id)
      assert.equal(image.disk?.virtualSizeBytes, 4 * 1024 * 1024)
      assert.equal(statSync(disk).mode & 0o7777, 0o444)
      assert.equal(statSync(disk).uid, 0)
      qemuImg('convert', '-f', 'qcow2', '-O', 'raw', disk, 'back.raw')
      assert.ok(readFileSync(join(folder, 'back.raw')).equals(readFileSync(join(folder, 'disk.raw'))))
      const { images } = await shelf.list()
      assert.ok(images.some(({ id }) => id === image.id))
    })
  }

  test('a VHD of either kind is refused, and the contents of one of fixed size are taken without its footer', async () => {
    const path = join(folder, 'fixed.vhd')
    const options = ['-f', 'raw', '-O', 'vpc', '-o']
    qemuImg('convert', ...options, 'subformat=fixed,force_size=on', 'disk.raw', path)
    qemuImg('convert', ...options, 'subformat=dynamic', 'disk.raw', 'dynamic.vhd')

    await refuses(path, /VHD image of fixed size.*truncate -s -512/, 'raw')
    await refuses(join(folder, 'dynamic.vhd'), /VHD/, 'raw')
    truncateSync(path, statSync(path).size - 512)
    const image = await importFile(path, 'raw')

    assert.equal(image.disk?.virtualSizeBytes, 4 * 1024 * 1024)
  })

  test('the same content is the same image', async () => {
    const first = await importFile(join(folder, 'disk.raw'), 'raw')
    const second = await importFile(join(folder, 'disk.raw'), 'raw')

    assert.equal(second.id, first.id)
  })

  test('images that make their reader read a host file are refused, however they are offered', async () => {
    const secret = join(folder, 'secret')
    writeFileSync(secret, randomBytes(65536))
    qemuImg('create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', secret, 'backing.qcow2')
    qemuImg(
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      `data_file=${secret}.data,data_file_raw=on`,
      'data.qcow2',
      '1M',
    )
    qemuImg(
      'create',
      '-q',
      '-f',
      'qcow2',
      '-u',
      '-F',
      'raw',
      '-b',
      `json:{"driver":"file","filename":"${secret}"}`,
      'json.qcow2',
      '1M',
    )
    writeFileSync(
      join(folder, 'flat.vmdk'),
      `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 128 FLAT "${secret}" 0\n`,
    )

    await refuses(join(folder, 'backing.qcow2'), /backing file/)
    await refuses(join(folder, 'data.qcow2'), /external data file/)
    await refuses(join(folder, 'json.qcow2'), /backing file/)
    await refuses(join(folder, 'flat.vmdk'), /names other files/)
    for (const name of ['backing.qcow2', 'data.qcow2', 'json.qcow2']) {
      await refuses(join(folder, name), /./, 'raw')
    }
    await refuses(join(folder, 'flat.vmdk'), /names other files/, 'raw')
  })

  test('what is not an image, or no whole one, is refused', async () => {
    const file = (name: string, content: Uint8Array): string => {
      writeFileSync(join(folder, name), content)
      return join(folder, name)
    }
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', 'disk.raw', 'whole.qcow2')
    const whole = readFileSync(join(folder, 'whole.qcow2'))
    // By chance it could begin like something that is refused with another reason.
    const noise = (bytes: number) => randomBytes(bytes).fill(1, 0, 16)

    await refuses(file('empty', Buffer.alloc(0)), /empty/)
    await refuses(file('random', noise(100_000)), /format is not known/)
    await refuses(file('random', noise(65_536)), /not a vmdk image/, 'vmdk')
    await refuses(file('short.qcow2', whole.subarray(0, 50)), /ends within its header/)
    await refuses(file('truncated.qcow2', whole.subarray(0, whole.length - 700_000)), /damaged/)
    const huge = Buffer.from(whole)
    huge.writeBigUInt64BE(1n << 60n, 24)
    await refuses(file('huge.qcow2', huge), /larger than/)
    const torn = Buffer.from(whole)
    randomBytes(whole.length - 65_536).copy(torn, 65_536)
    await refuses(file('torn.qcow2', torn), /damaged|cannot read/)
  })

  test('what is no regular file is refused at once, and a link is not followed', async () => {
    mkdirSync(join(folder, 'directory'))
    symlinkSync(join(folder, 'disk.raw'), join(folder, 'link'))
    execFileSync('mkfifo', [join(folder, 'fifo')])

    await refuses(join(folder, 'directory'), /no regular file/)
    await refuses(join(folder, 'fifo'), /no regular file/, 'raw')
    await refuses('/dev/zero', /no regular file/, 'raw')
    await refuses(join(folder, 'link'), /symbolic link/, 'raw')
    await refuses(join(folder, `missing-${randomUUID()}`), /There is no file/, 'raw')
    await refuses('/proc/kcore', /./, 'raw')
  })

  test('an import that is given up leaves nothing', async () => {
    const aborter = new AbortController()
    const importing = importFile(join(folder, 'good.qcow2'), undefined, aborter.signal)
    setTimeout(() => aborter.abort(new Error('enough')), 40)

    await assert.rejects(importing)

    assert.deepEqual(readdirSync(work.scratch), [])
    assert.ok(readdirSync(join(folder, 'images')).every((name) => !name.startsWith('.')))
  })
})
