/** The port's promises, kept by a folder; and what a folder on a file system that hangs, vanishes or was tampered with does. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { lacking, needs } from '../../../../../tools/require.ts'
import { testPools } from '../../ports/pools.suite.ts'
import { eventually } from '../cage/testing/test-cages.ts'
import { noJail, openTestJail } from '../jail/testing/test-jail.ts'
import { createDirPool, type DirPoolOptions } from './dir-pool.ts'

const mib = 2 ** 20
const skip = needs('root', 'qemu')
const skipHung =
  skip ||
  (existsSync('/usr/bin/bindfs')
    ? false
    : lacking('oracle', 'there is no bindfs, whose file system could hang'))

const one = { id: '00000000-0000-4000-8000-000000000001', format: 'qcow2' } as const
const raw = { ...one, format: 'raw' } as const

async function newFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function openPool(t: TestContext, options: Pick<DirPoolOptions, 'path'> & Partial<DirPoolOptions>) {
  const troubles: string[] = []
  const pool = createDirPool({
    mark: 'pool-1',
    reservedBytes: 0,
    jailed: noJail,
    onUnreachable: (reason) => troubles.push(reason),
    deadlines: { quickMs: 500, syncMs: 500 },
    ...options,
  })
  t.after(() => pool.close())
  return { pool, troubles }
}

function refusedWith(code: string, pattern = /./) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

testPools({
  name: 'a folder',
  skip,
  async open(t) {
    const path = join(await newFolder(t), 'pool')
    const jail = await openTestJail()
    t.after(() => jail[Symbol.asyncDispose]())
    const deadlines = {}
    return {
      pool: openPool(t, { path, jailed: jail.jailed, deadlines }).pool,
      rival: openPool(t, { path, mark: 'pool-2', jailed: jail.jailed, deadlines }).pool,
      addForeign: async () => {
        writeFileSync(join(path, 'other.img'), 'x')
        return 'other.img'
      },
    }
  },
})

test('a raw volume is sparse, or takes all its space at once', { skip }, async (t) => {
  const path = await newFolder(t)
  const { pool } = openPool(t, { path })
  await pool.claim({ force: false })
  const other = { ...raw, id: raw.id.replace(/1$/, '2') }

  await pool.createEmpty(raw, { capacityBytes: 8 * mib })
  await pool.createEmpty(other, { capacityBytes: 8 * mib, preallocation: 'full' })

  const sparse = statSync(join(path, `${raw.id}.raw`))
  assert.deepEqual([sparse.size, sparse.blocks, sparse.mode & 0o777], [8 * mib, 0, 0o600])
  assert.ok(((await pool.allocatedBytes(other)) ?? 0) >= 8 * mib)
})

test('a folder that others may write, or that is reached through a link, is not made a pool', {
  skip,
}, async (t) => {
  const folder = await newFolder(t)
  const open = join(folder, 'open')
  mkdirSync(open)
  await chmod(open, 0o777)
  const foreign = join(folder, 'foreign')
  mkdirSync(foreign)
  await chown(foreign, 1234, 1234)
  mkdirSync(join(folder, 'real'))
  symlinkSync('real', join(folder, 'link'))
  writeFileSync(join(folder, 'file'), '')

  const refusal = (path: string, pattern: RegExp) =>
    assert.rejects(openPool(t, { path }).pool.claim({ force: true }), refusedWith('pool-refused', pattern))

  await refusal(open, /UID 0 with mode 777/)
  await refusal(foreign, /UID 1234/)
  await refusal(join(folder, 'link'), /symbolic link/)
  await refusal(join(folder, 'link', 'below'), /symbolic link/)
  await refusal(join(folder, 'file'), /Not a directory/)
  await refusal(join(folder, 'no', 'parent'), /No such file/)
  assert.equal(existsSync(join(folder, 'real', '.kvasir-pool')), false)
})

test('a file is imported as what it is said to be, and what lies on another is not', { skip }, async (t) => {
  const path = await newFolder(t)
  const { pool } = openPool(t, { path })
  await pool.claim({ force: false })
  const make = (file: string, ...args: readonly string[]) =>
    execFileSync('qemu-img', ['create', '-q', ...args, join(path, file), '8M'])
  make('good.qcow2', '-f', 'qcow2')
  make('evil.qcow2', '-f', 'qcow2', '-u', '-F', 'raw', '-b', '/etc/shadow')
  make('good.img', '-f', 'raw')
  writeFileSync(join(path, 'odd.img'), 'x'.repeat(700))
  const adopt = async (file: string, format: 'raw' | 'qcow2') =>
    (await pool.adopt({ ...one, file, format })).capacityBytes

  assert.equal(await adopt('good.qcow2', 'qcow2'), 8 * mib)
  assert.equal(await adopt('good.img', 'raw'), 8 * mib)
  assert.equal(statSync(join(path, 'good.img')).mode & 0o777, 0o600)
  await assert.rejects(adopt('evil.qcow2', 'qcow2'), refusedWith('image-refused', /etc.shadow/))
  await assert.rejects(adopt('good.qcow2', 'raw'), refusedWith('image-refused', /qcow2 image, not raw/))
  await assert.rejects(adopt('good.img', 'qcow2'), refusedWith('image-refused'))
  await assert.rejects(adopt('odd.img', 'raw'), refusedWith('image-refused', /sectors/))
  await assert.rejects(adopt('none.img', 'raw'), refusedWith('file-not-found'))
})

test('what is refused is as it was, and what was taken can be given back so', { skip }, async (t) => {
  const path = await newFolder(t)
  const { pool } = openPool(t, { path })
  await pool.claim({ force: false })
  const theirs = async (file: string, contents: string) => {
    writeFileSync(join(path, file), contents)
    await chown(join(path, file), 1234, 1235)
    chmodSync(join(path, file), 0o640)
  }
  const whose = (file: string) => {
    const { uid, gid, mode } = statSync(join(path, file))
    return [uid, gid, mode & 0o7777]
  }
  await theirs('odd.img', 'x'.repeat(700))
  await theirs('disk.img', `KDMV${'x'.repeat(1020)}`)

  await assert.rejects(pool.adopt({ ...one, file: 'odd.img', format: 'raw' }), refusedWith('image-refused'))
  const bytes = await pool.peek?.('disk.img', 512)
  assert.deepEqual(
    [bytes?.length, Buffer.from(bytes ?? []).toString('utf8', 0, 4), whose('odd.img'), whose('disk.img')],
    [512, 'KDMV', [1234, 1235, 0o640], [1234, 1235, 0o640]],
  )
  let before: readonly string[] = []
  await pool.adopt({ ...one, file: 'disk.img', format: 'raw' }, (told) => {
    before = told
  })
  assert.deepEqual(whose('disk.img'), [0, 0, 0o600])
  for (const file of ['disk.img', 'disk.img', 'gone.img']) await pool.giveBack?.(file, before)

  assert.deepEqual(whose('disk.img'), [1234, 1235, 0o640])
})

test('what is not resized is said to be as it was, and who has it open', { skip }, async (t) => {
  const path = await newFolder(t)
  await using jail = await openTestJail()
  const { pool } = openPool(t, { path, jailed: jail.jailed })
  await pool.claim({ force: false })
  await pool.createEmpty(one, { capacityBytes: 8 * mib })
  const file = join(path, `${one.id}.qcow2`)
  const other = spawn('qemu-io', ['-f', 'qcow2', file])
  await once(other.stdout, 'data')

  const locked = new RegExp(`locked by qemu-io .PID ${other.pid}., so it keeps its size`)
  await assert.rejects(pool.resize(one, 16 * mib), refusedWith('in-use', locked))

  other.stdin.end()
  await once(other, 'exit')
  writeFileSync(file, 'no header at all')
  await assert.rejects(
    pool.resize(one, 16 * mib),
    refusedWith('volume-damaged', /damaged, so it keeps its size/),
  )
})

test('a file says how many names it has', { skip }, async (t) => {
  const path = await newFolder(t)
  const { pool } = openPool(t, { path })
  await pool.claim({ force: false })
  writeFileSync(join(path, 'one.img'), Buffer.alloc(4096))
  assert.deepEqual(
    (await pool.list()).map(({ names }) => names),
    [1],
  )

  linkSync(join(path, 'one.img'), join(await newFolder(t), 'outside.img'))

  assert.deepEqual(
    (await pool.list()).map(({ names, sizeBytes }) => [names, sizeBytes]),
    [[2, 4096]],
  )
})

test('a link in the place of a volume is neither followed nor filled', { skip }, async (t) => {
  const path = await newFolder(t)
  const { pool } = openPool(t, { path })
  await pool.claim({ force: false })
  const target = join(await newFolder(t), 'secret')
  writeFileSync(target, 'secret')
  symlinkSync(target, join(path, `${raw.id}.raw`))

  await assert.rejects(pool.createEmpty(raw, { capacityBytes: mib }))
  await assert.rejects(pool.allocatedBytes({ ...raw, file: '../secret' }))
  const [entry] = await pool.list()

  assert.equal(entry?.isVolume, false)
  assert.equal(readFileSync(target, 'utf8'), 'secret')
})

test('a folder whose file system is not mounted any more is unreachable, and nothing is written beneath', {
  skip,
}, async (t) => {
  const path = await newFolder(t)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=700', 'none', path])
  const { pool, troubles } = openPool(t, { path })
  await pool.claim({ force: false })
  execFileSync('umount', [path])

  await assert.rejects(
    pool.createEmpty(one, { capacityBytes: mib }),
    refusedWith('pool-unreachable', /mounted/),
  )
  await assert.rejects(pool.inspect(), refusedWith('pool-unreachable', /mounted/))

  assert.equal(troubles.length, 2)
  assert.equal(existsSync(join(path, `${one.id}.qcow2`)), false)
})

test('a file system that hangs makes the pool unreachable within its deadline, until it answers again', {
  skip: skipHung,
}, async (t) => {
  const real = await newFolder(t)
  const path = join(await newFolder(t), 'mounted')
  mkdirSync(path, { mode: 0o700 })
  await using server = await mountThroughServer(real, path)
  const { pool, troubles } = openPool(t, { path })
  await pool.claim({ force: false })
  await pool.createEmpty(one, { capacityBytes: 8 * mib })

  server.kill('SIGSTOP')
  const startedMs = performance.now()
  await assert.rejects(
    pool.allocatedBytes(one),
    refusedWith('pool-unreachable', /did not answer within 0.5 s/),
  )
  const firstMs = performance.now() - startedMs
  await assert.rejects(pool.list(), refusedWith('pool-unreachable'))
  const secondMs = performance.now() - startedMs - firstMs

  // A timer may ring a fraction of a millisecond early.
  assert.ok(firstMs >= 490 && firstMs < 3_000, `${firstMs} ms`)
  assert.ok(secondMs < 400, `Nobody waits twice: ${secondMs} ms.`)
  assert.equal(troubles.length, 1)
  server.kill('SIGCONT')
  await pool.inspect()
  assert.equal(typeof (await pool.allocatedBytes(one)), 'number')
  assert.equal(pool.isLocal, false, 'somebody else may have what a FUSE server holds')
})

/** Mounts a folder a second time, through a server that a test can stop. */
async function mountThroughServer(folder: string, path: string) {
  const server = spawn('bindfs', ['-f', '--no-allow-other', folder, path], { stdio: 'ignore' })
  await eventually(async () => readFileSync('/proc/self/mounts', 'utf8').includes(` ${path} fuse`), {
    timeoutMs: 10_000,
    otherwise: 'bindfs did not mount.',
  })
  return {
    kill: (signal: 'SIGSTOP' | 'SIGCONT') => void server.kill(signal),
    async [Symbol.asyncDispose]() {
      const exited = once(server, 'exit')
      server.kill('SIGKILL')
      await exited
      execFileSync('umount', ['-l', path])
    },
  }
}
