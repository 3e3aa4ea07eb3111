/**
 * The generated types against the truth: what a real QEMU with devices answers to its queries is written
 * down as TypeScript and given to the checker.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../../tools/require.ts'
import { QmpClient } from './client.ts'
import { QmpError } from './errors.ts'
import { startEmulator } from './testing/emulator.ts'

const root = join(import.meta.dirname, '../../..')

const hardware = [
  ['-machine', 'q35'],
  ['-m', '64'],
  ['-object', 'iothread,id=io0'],
  ['-blockdev', 'node-name=file0,driver=null-co,size=1048576'],
  ['-blockdev', 'node-name=disk0,driver=raw,file=file0'],
  ['-device', 'virtio-blk-pci,drive=disk0,iothread=io0'],
  ['-device', 'virtio-balloon-pci'],
  ['-device', 'virtio-serial-pci'],
  ['-chardev', 'null,id=channel0'],
  ['-device', 'virtserialport,chardev=channel0'],
  ['-device', 'pcie-root-port,id=port0'],
].flat()

/** A constant for each query that needs no arguments and that this machine answers. */
async function answersAsTypeScript(client: QmpClient): Promise<readonly string[]> {
  const commands = await client.execute('query-commands')
  const lines: string[] = []
  for (const name of commands.map((one) => one.name).filter((one) => /^(x-)?query-/.test(one))) {
    try {
      const answer = JSON.stringify(await client.executeUntyped(name))
      lines.push(
        `export const v${lines.length} = ${answer} as const satisfies Commands['${name}']['returns']`,
      )
    } catch (error) {
      assert.ok(error instanceof QmpError, String(error))
    }
  }
  return lines
}

test('What a real QEMU answers to its queries has the generated types', { skip: needs('qemu') }, async () => {
  await using emulator = await startEmulator(hardware)
  using client = await QmpClient.connect({ path: emulator.path })
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-qmp-'))
  try {
    const lines = await answersAsTypeScript(client)
    const imports = `import type { Commands } from '${join(root, 'packages/qmp/src/index.ts')}'`
    await writeFile(join(folder, 'answers.mts'), [imports, ...lines].join('\n'))
    const compilerOptions = { typeRoots: [join(root, 'node_modules/@types')] }
    const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['answers.mts'] }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))

    const tsc = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], {
      encoding: 'utf8',
      timeout: 60_000,
    })

    assert.equal(tsc.stdout.slice(0, 2000), '')
    assert.equal(tsc.status, 0)
    assert.ok(lines.length > 50, `only ${lines.length} queries were answered`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
