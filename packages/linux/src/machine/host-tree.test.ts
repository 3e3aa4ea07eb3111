import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { DirectoryTree, type Reading } from './host-tree.ts'
import { readTopology } from './topology.ts'

function newRoot(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'kvasir-tree-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  mkdirSync(join(root, 'sys/devices/system/cpu'), { recursive: true })
  return root
}

test('a root that does not exist is refused', () => {
  assert.throws(() => new DirectoryTree('/nonexistent/capture'), /ENOENT/)
})

test('names come in the order of their numbers', (t) => {
  const root = newRoot(t)
  for (const name of ['cpu10', 'cpu2', 'cpufreq', 'cpu0'])
    mkdirSync(join(root, 'sys/devices/system/cpu', name))

  assert.deepEqual(new DirectoryTree(root).list('/sys/devices/system/cpu', /^cpu\d+$/), [
    'cpu0',
    'cpu2',
    'cpu10',
  ])
  assert.deepEqual(new DirectoryTree(root).list('/sys/nothing', /./), [])
})

test('what lies outside of the root is not read, whichever link leads there', (t) => {
  const root = newRoot(t)
  symlinkSync('/etc/hostname', join(root, 'file'))
  symlinkSync('/etc', join(root, 'folder'))
  symlinkSync('../..', join(root, 'above'))
  const tree = new DirectoryTree(root)

  assert.equal(tree.readText('/file'), undefined)
  assert.equal(tree.readText('/folder/hostname'), undefined)
  assert.deepEqual(tree.list('/folder', /./), [])
  assert.deepEqual(tree.list('/above', /./), [])
  assert.equal(tree.linkName('/file'), 'hostname')
})

test('pipes, directories, binary and too big files are absent', (t) => {
  const root = newRoot(t)
  execFileSync('mkfifo', [join(root, 'pipe')])
  writeFileSync(join(root, 'binary'), Buffer.from([65, 0, 66]))
  writeFileSync(join(root, 'big'), 'x'.repeat(70_000))
  const tree = new DirectoryTree(root)

  for (const path of ['/pipe', '/sys', '/binary', '/none']) assert.equal(tree.readText(path), undefined, path)
  assert.equal(tree.readText('/big', 50_000), undefined)
  assert.equal(tree.readText('/big')?.length, 70_000)
})

test('a recorder hears what was found and nothing else', (t) => {
  const root = newRoot(t)
  writeFileSync(join(root, 'file'), 'text\n')
  const heard: Reading[] = []
  const tree = new DirectoryTree(root, { record: (reading) => heard.push(reading) })

  tree.readText('/file')
  tree.readText('/none')
  tree.list('/sys/devices', /^system$/)

  assert.deepEqual(heard, [
    { kind: 'file', path: '/file', text: 'text' },
    { kind: 'directory', path: '/sys/devices', names: ['system'] },
  ])
})

test('an empty directory shows no host, and garbage in every file neither crashes nor hangs', async (t) => {
  const root = newRoot(t)
  assert.equal(await readTopology(new DirectoryTree(root)), undefined)

  const folder = join(root, 'sys/devices/system/cpu')
  for (const name of ['present', 'possible', 'online', 'isolated'])
    writeFileSync(join(folder, name), '0-4294967295')
  for (const path of [
    'cpu0/topology/core_id',
    'cpu0/topology/core_cpus_list',
    'cpu0/cache/index3/level',
    'cpu99999/x',
  ]) {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), '\u0001\ufffd 99999999999999999999999')
  }
  const topology = await readTopology(new DirectoryTree(root))

  assert.deepEqual(topology?.cores, [{ core: 0, socket: 0, die: 0, node: 0, cpus: [0] }])
  assert.deepEqual(topology?.isolated, [])
})
