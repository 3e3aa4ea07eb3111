import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import type { JailedToolRequest } from '../../ports/jailed-tools.ts'
import { CageError } from '../cage/cage-error.ts'
import { eventually } from '../cage/testing/test-cages.ts'
import { openSecretFiles } from '../files/secret-files.ts'
import { lockedWords, rightKey, wrongKey } from '../files/testing/locked-words.ts'
import { JailSecrets } from './jail-secrets.ts'
import { openJailedTools } from './jailed-tools.ts'
import { openTestJail, TEST_USERS, type TestJail } from './testing/test-jail.ts'

const MIB = 2 ** 20

describe('jailed tools', { skip: needs('root', 'qemu') }, () => {
  let jail: TestJail
  let folder: string

  before(async () => {
    jail = await openTestJail()
    folder = join(jail.cages.directory, 'pool')
    mkdirSync(folder, { mode: 0o700 })
  })

  after(() => jail[Symbol.asyncDispose]())

  const path = (name: string) => join(folder, name)

  /** A volume as the pool keeps it: for root alone. */
  const makeVolume = (name: string, ...args: readonly string[]): string => {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...args, path(name), '8M'])
    execFileSync('chmod', ['600', path(name)])
    return path(name)
  }

  const run = (request: Partial<JailedToolRequest>, signal = AbortSignal.timeout(30_000)) =>
    jail.jailed.run(
      { tool: 'qemu-img', args: [], inputs: [], timeoutMs: 20_000, fileSizeBytes: 64 * MIB, ...request },
      signal,
    )

  test('a file of root is read by its number, and stays closed to everybody else', async () => {
    const volume = makeVolume('read.qcow2')

    const result = await run({ args: ['info', '--output=json', '-f', 'qcow2', '/in/0'], inputs: [volume] })

    assert.equal(JSON.parse(result.stdout)['virtual-size'], 8 * MIB, result.stderr)
    const { mode, uid, gid } = statSync(volume)
    assert.deepEqual([mode & 0o777, uid, gid], [0o640, 0, TEST_USERS.first])
  })

  test('a file is changed in its place and is root’s alone afterwards', async () => {
    const volume = makeVolume('resize.qcow2')

    const result = await run({ args: ['resize', '-f', 'qcow2', '/out/0', '16M'], outputs: [volume] })

    assert.equal(result.exitCode, 0, result.stderr)
    const info = execFileSync('qemu-img', ['info', '--output=json', volume], { encoding: 'utf8' })
    assert.equal(JSON.parse(info)['virtual-size'], 16 * MIB)
    const { mode, uid, gid } = statSync(volume)
    assert.deepEqual([mode & 0o777, uid, gid], [0o600, 0, 0])
  })

  test('a tool gets a secret without its being an argument, and nothing of it is left', async () => {
    await jail.secrets.write('right', rightKey)
    await jail.secrets.write('wrong', wrongKey)
    const volume = makeVolume('locked.qcow2')
    const { keyid, iv, format, data } = lockedWords('sec.key')
    const words = `secret,id=words,keyid=${keyid},iv=${iv},format=${format},data=${data}`
    const open = (secretId: string) =>
      run({
        args: ['info', '--object', words, '-f', 'qcow2', '/in/0'],
        inputs: [volume],
        secrets: [{ object: 'sec.key', secretId, format: 'raw' }],
      })

    const [opened, refused] = [await open('right'), await open('wrong')]

    assert.deepEqual([opened.exitCode, refused.exitCode], [0, 1], opened.stderr)
    assert.deepEqual(readdirSync(join(jail.cages.directory, 'jail-secrets')), [])
    await assert.rejects(open('gone'), { code: 'secret-not-found' })
    assert.deepEqual(readdirSync(join(jail.cages.directory, 'jail-secrets')), [])
  })

  test('a whole chain is spelled out, and its top is committed into its base', async () => {
    const base = makeVolume('base.qcow2')
    const top = makeVolume('top.qcow2', '-u', '-F', 'qcow2', '-b', '/nowhere')
    execFileSync('qemu-img', ['rebase', '-q', '-u', '-F', 'qcow2', '-b', '/out/0', top])
    const backing = { driver: 'qcow2', file: { driver: 'file', filename: '/out/0' } }
    const chain = { driver: 'qcow2', file: { driver: 'file', filename: '/out/1' }, backing }

    const measured = await run({
      args: ['measure', '--output=json', '-O', 'qcow2', `json:${JSON.stringify(chain)}`],
      outputs: [base, top],
    })
    const committed = await run({ args: ['commit', '-f', 'qcow2', '-q', '/out/1'], outputs: [base, top] })

    assert.ok(JSON.parse(measured.stdout).required > 0, measured.stderr)
    assert.equal(committed.exitCode, 0, committed.stderr)
  })

  test('an input cannot be written, though the tool’s user could be let', async () => {
    const volume = makeVolume('input.qcow2')
    const before = readFileSync(volume)
    execFileSync('chmod', ['666', volume])

    const result = await run({ args: ['resize', '-f', 'qcow2', '/in/0', '16M'], inputs: [volume] })

    assert.equal(result.exitCode, 1)
    assert.match(result.stderr, /Read-only file system/)
    assert.ok(readFileSync(volume).equals(before))
  })

  test('what a header names is not there to be opened', async () => {
    const evil = makeVolume('evil.qcow2', '-u', '-F', 'raw', '-b', '/etc/shadow')

    const result = await run({ args: ['check', '-f', 'qcow2', '/in/0'], inputs: [evil] })
    const compared = await run({
      args: ['compare', '-f', 'qcow2', '-F', 'qcow2', '/in/0', '/in/0'],
      inputs: [evil],
    })

    assert.notEqual(result.exitCode, undefined)
    assert.match(compared.stderr, /Could not open '\/etc\/shadow': No such file or directory/)
  })

  test('a tool that writes more than it may is ended for it', async () => {
    const [input, output] = [path('large'), path('small')]
    writeFileSync(input, Buffer.alloc(8 * MIB, 'x'), { mode: 0o600 })
    writeFileSync(output, '', { mode: 0o600 })

    const result = await run({
      args: ['convert', '-f', 'raw', '-O', 'qcow2', '/in/0', '/out/0'],
      inputs: [input],
      outputs: [output],
      fileSizeBytes: MIB,
    })

    assert.equal(result.limit, 'file-size', JSON.stringify(result))
  })

  test('a link, a pipe and a file that is missing are no files to work on', async () => {
    execFileSync('ln', ['-s', '/etc/shadow', path('link')])
    execFileSync('mkfifo', [path('pipe')])

    for (const name of ['link', 'pipe', 'missing'])
      await assert.rejects(run({ args: ['info', '/in/0'], inputs: [path(name)] }), KvasirError, name)

    assert.equal(statSync('/etc/shadow').gid === TEST_USERS.first, false)
  })

  test('more files than a jail has places for are a defect of the caller', async () => {
    const volume = makeVolume('many.qcow2')

    await assert.rejects(run({ inputs: Array.from({ length: 131 }, () => volume) }), CageError)
    await assert.rejects(run({ outputs: [volume], outputDirectory: folder }), CageError)
  })

  test('a tool that runs when its daemon is killed ends with it, and the next daemon clears up', async () => {
    const program = `
      import { openCages } from '${import.meta.resolve('../cage/cage.ts')}'
      const cages = await openCages(JSON.parse(process.argv[1]))
      console.log('ready')
      await cages.runJailed({ group: 'jail-left', uid: ${TEST_USERS.first}, gid: ${TEST_USERS.first}, binary: '/usr/bin/sleep',
        args: ['60'], inputs: [], timeoutMs: 60_000, addressSpaceBytes: 2 ** 30, cpuSeconds: 60, fileSizeBytes: 0, outputBytes: 100 })`
    const { options, cages } = jail.cages
    const daemon = spawn(
      process.execPath,
      ['--input-type=module', '--eval', program, JSON.stringify(options)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(createInterface({ input: daemon.stdout }), 'line')
    const command = async () =>
      (await cages.groups.processes('jail-left').catch(() => [])).map((pid) =>
        readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
      )
    await eventually(async () => (await command())[0]?.startsWith('/usr/bin/sleep') ?? false, {
      timeoutMs: 10_000,
      otherwise: 'The command did not begin.',
    })

    daemon.kill('SIGKILL')

    await eventually(async () => !(await cages.groups.isPopulated('jail-left')), {
      timeoutMs: 2_000,
      otherwise: 'The command lives on.',
    })
    const { directory } = jail.cages
    const values = await openSecretFiles(directory)
    await openJailedTools({
      cages,
      users: TEST_USERS,
      secrets: await JailSecrets.open(directory, values),
      socketsRoot: join(folder, 'tools'),
      nodesDirectory: join(folder, 'nodes'),
    })
    assert.deepEqual(await cages.groups.list(), [])
  })
})
