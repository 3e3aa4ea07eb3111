import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lacking } from '../../../../tools/require.ts'
import { runCommand } from '../run-command.ts'
import { writeMachine } from '../testing/machine-files.ts'
import { machines } from '../testing/machines.ts'
import { DirectoryTree } from './host-tree.ts'
import { readTopology } from './topology.ts'

const timeoutMs = 30_000

const hasLscpu = await runCommand(['lscpu', '--version'], { timeoutMs }).then(
  () => true,
  () => false,
)
const skip = hasLscpu ? false : lacking('oracle', 'lscpu is not installed')

/** A CPU and the numbers of its node, socket, core and L3 domain; of an offline one nothing more is known. */
type Row = readonly [cpu: number, ...place: readonly (number | undefined)[]]

/** What lscpu says of each CPU, in its parsable format: its JSON is none where a CPU is offline. */
async function askLscpu(root: string): Promise<readonly Row[]> {
  const { stdout } = await runCommand(
    ['lscpu', '--sysroot', root, '--all', '--parse=cpu,node,socket,core,cache,online'],
    { timeoutMs },
  )
  const lines = stdout.trim().split('\n')
  const header =
    lines
      .findLast((line) => line.startsWith('#'))
      ?.slice(2)
      .split(',') ?? []
  const numberIn = (cells: readonly string[], column: string) => {
    const cell = cells[header.indexOf(column)]
    return cell === undefined || cell === '' ? undefined : Number(cell)
  }
  return lines
    .filter((line) => !line.startsWith('#'))
    .map((line): Row => {
      const cells = line.split(',')
      const place = ['Node', 'Socket', 'Core', 'L3'].map((column) => numberIn(cells, column))
      return [numberIn(cells, 'CPU') ?? -1, ...(cells.at(-1) === 'Y' ? place : [])]
    })
}

/** What we say of each CPU. */
async function askOurselves(root: string): Promise<readonly Row[]> {
  const topology = await readTopology(new DirectoryTree(root))
  assert.ok(topology)
  return topology.cpus.map(({ cpu, online, node, socket, core, l3 }): Row => {
    const place = [topology.numa ? node : undefined, socket, core, l3]
    return online ? [cpu, ...place] : [cpu]
  })
}

async function newFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-machine-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

// lscpu does not read lists, so it knows nothing of the siblings of old-guest; it counts the cores of each of ARM's types from 0.
const unlike = ['old-guest', 'arm-big-little']

for (const [name, files] of Object.entries(machines).filter(([known]) => !unlike.includes(known))) {
  test(`each CPU of ${name} is where lscpu says`, { skip }, async (t) => {
    const root = await newFolder(t)
    await writeMachine(files(), root)

    assert.deepEqual(await askOurselves(root), await askLscpu(root))
  })
}

test('each CPU of this machine is where lscpu says', { skip }, async () => {
  assert.deepEqual(await askOurselves('/'), await askLscpu('/'))
})
