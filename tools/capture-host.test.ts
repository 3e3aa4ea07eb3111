import assert from 'node:assert/strict'
import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname, networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readHost } from '@kvasir/linux/host-reading'
import { DirectoryTree, type HostTree } from '@kvasir/linux/host-tree'
import { writeMachine } from '@kvasir/linux/testing/machine-files'
import { machines } from '@kvasir/linux/testing/machines'
import { readTopology } from '@kvasir/linux/topology'
import { captureHost } from './capture-host.ts'

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-capture-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** What does not change while one looks: all but counts of free memory. */
async function lastingFacts(tree: HostTree) {
  const host = readHost(tree)
  const lasting = (key: string, value: unknown) =>
    /^(free|available|inUse|stored|pool)Bytes$|Percent$|^(free|pages\w+|savedBytes)$|^hasFile$/.test(key)
      ? undefined
      : value
  return JSON.parse(JSON.stringify([await readTopology(tree), host], lasting))
}

test('a capture of this machine shows what the machine shows', async (t) => {
  const out = join(newFolder(t), 'capture')
  const count = await captureHost(out)

  assert.ok(count > 20, `${count} files`)
  const [live, captured] = [
    await lastingFacts(new DirectoryTree('/')),
    await lastingFacts(new DirectoryTree(out)),
  ]
  // The capture keeps of the command line what matters, and the readers never read more.
  assert.deepEqual(captured, live)
})

test('a capture holds neither names nor addresses of this machine, and is small', async (t) => {
  const out = join(newFolder(t), 'capture')
  await captureHost(out)

  const files = globSync('**', { cwd: out }).filter((path) =>
    statSync(join(out, path), { throwIfNoEntry: false })?.isFile(),
  )
  const text = files.map((path) => readFileSync(join(out, path), 'utf8')).join('\n')
  const macs = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ mac }) => mac))
  for (const mac of macs.filter((address) => address !== '00:00:00:00:00:00'))
    assert.ok(!text.includes(mac), mac)
  if (hostname().length > 5) assert.ok(!text.includes(hostname()))
  assert.doesNotMatch(text, /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i)
  assert.ok(text.length < 4 * 1024 * 1024, `${text.length} bytes`)
})

test('a capture can be captured again, links and all', async (t) => {
  const folder = newFolder(t)
  const device = '/sys/bus/pci/devices/0000:01:00.0'
  const nic = { [`${device}/class`]: '0x020000', [`${device}/driver`]: '-> ../../drivers/igb' }
  const files = new Map([...machines['offline-siblings'](), ...Object.entries(nic)])
  await writeMachine(files, join(folder, 'machine'))

  await captureHost(join(folder, 'copy'), join(folder, 'machine'))

  assert.deepEqual(
    await lastingFacts(new DirectoryTree(join(folder, 'copy'))),
    await lastingFacts(new DirectoryTree(join(folder, 'machine'))),
  )
})

test('nothing is captured into a directory with something in it, or from one without a host', async (t) => {
  const folder = newFolder(t)
  writeFileSync(join(folder, 'mine'), 'precious')

  await assert.rejects(captureHost(folder), /is not empty/)
  await assert.rejects(captureHost(join(folder, 'new'), folder), /no host to capture/)
  assert.equal(readFileSync(join(folder, 'mine'), 'utf8'), 'precious')
})
