import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { generateInto } from './generate-qmp.ts'
import { type Entity, type Introspection, readIntrospections } from './generate-qmp-introspection.ts'
import { MergedSchema } from './generate-qmp-merge.ts'
import { nameTypes, pascalCase } from './generate-qmp-names.ts'
import { printFiles } from './generate-qmp-print.ts'

const specs = join(import.meta.dirname, '../specs/qmp')
const generated = join(import.meta.dirname, '../packages/qmp/src/generated')

function introspection(version: string, entities: readonly Entity[]): Introspection {
  const commands = entities.filter((entity) => entity['meta-type'] === 'command')
  const events = entities.filter((entity) => entity['meta-type'] === 'event')
  return {
    version,
    commands: new Map(commands.map((entity) => [entity.name, entity])),
    events: new Map(events.map((entity) => [entity.name, entity])),
    types: new Map(entities.map((entity) => [entity.name, entity])),
  }
}

function generate(...introspections: readonly Introspection[]): ReadonlyMap<string, string> {
  const schema = new MergedSchema(introspections)
  return printFiles({ schema, names: nameTypes(schema) })
}

const string: Entity = { name: 'str', 'meta-type': 'builtin', 'json-type': 'string' }
const empty: Entity = { name: '0', 'meta-type': 'object', members: [] }

function command(name: string, args: string, returns: string): Entity {
  return { name, 'meta-type': 'command', 'arg-type': args, 'ret-type': returns }
}

function runGenerator(...args: readonly string[]): { status: number | null; stderr: string } {
  const program = join(import.meta.dirname, 'generate-qmp.ts')
  return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', timeout: 30_000 })
}

test('The check names a file that was edited and no other, and generating puts it right', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-generate-'))
  try {
    cpSync(generated, folder, { recursive: true })
    appendFileSync(join(folder, 'types.ts'), '// edited\n')

    const check = runGenerator('--check', '--output', folder)
    const { changed } = generateInto(folder)

    assert.equal(check.status, 1)
    assert.match(check.stderr, /^\S+types\.ts is stale.*\n$/)
    assert.equal(changed, 1)
    const read = (from: string) => readFileSync(join(from, 'types.ts'), 'utf8')
    assert.equal(read(folder), read(generated))
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('A newer introspection keeps the names that the oldest gives', () => {
  const all = readIntrospections(specs)
  const [oldest] = all
  assert.ok(oldest)
  const alone = nameTypes(new MergedSchema([oldest]))
  const together = new Set(
    [...nameTypes(new MergedSchema(all))].map(([key, name]) => `${key.split('|')[0] ?? ''} ${name}`),
  )

  const renamed = [...alone].filter(([key, name]) => !together.has(`${key} ${name}`))

  assert.deepEqual(renamed, [])
})

test('Types are named by command and member, and once when shared, by the shortest path', () => {
  const files = generate(
    introspection('7.2', [
      string,
      empty,
      command('query-a', '0', '[1]'),
      command('set-b', '2', '0'),
      { name: '[1]', 'meta-type': 'array', 'element-type': '1' },
      { name: '1', 'meta-type': 'object', members: [{ name: 'run-state', type: '3' }] },
      { name: '2', 'meta-type': 'object', members: [{ name: 'state', type: '3', default: null }] },
      { name: '3', 'meta-type': 'enum', members: [{ name: 'on' }, { name: 'off' }] },
    ]),
  )

  const types = files.get('types.ts') ?? ''
  assert.match(types, /export interface QueryAItem \{\n {2}readonly 'run-state': SetBState\n\}/)
  assert.match(types, /export type SetBState =\n {2}\| 'on'\n {2}\| 'off'/)
  assert.match(types, /export interface SetBArguments \{\n {2}readonly state\?: SetBState \| undefined\n\}/)
  assert.match(files.get('commands.ts') ?? '', /'query-a': .*returns: readonly types\.QueryAItem\[\]/)
})

test('What only some versions have is optional and says so', () => {
  const version = (name: string, members: readonly string[], names: readonly string[]): Introspection =>
    introspection(name, [
      string,
      empty,
      ...names.map((one) => command(one, '0', '1')),
      { name: '1', 'meta-type': 'object', members: members.map((member) => ({ name: member, type: 'str' })) },
    ])

  const files = generate(
    version('7.2', ['kept', 'old'], ['query-a', 'query-old']),
    version('10.0', ['kept', 'new'], ['query-a', 'query-new']),
  )

  const types = files.get('types.ts') ?? ''
  assert.match(types, / {2}readonly kept: string\n/)
  assert.match(types, / {2}\/\*\* Gone in QEMU 10\.0\. \*\/\n {2}readonly old\?: string \| undefined\n/)
  assert.match(types, / {2}\/\*\* @since QEMU 10\.0 \*\/\n {2}readonly new\?: string \| undefined\n/)
  assert.match(files.get('commands.ts') ?? '', /\/\*\* @since QEMU 10\.0 \*\/\n {2}readonly 'query-new'/)
  assert.match(
    files.get('command-versions.ts') ?? '',
    /\['query-new', \['10\.0'\]\],\n {2}\['query-old', \['7\.2'\]\],/,
  )
})

test('A union becomes one branch for each type, told apart by its tag', () => {
  const files = generate(
    introspection('7.2', [
      string,
      empty,
      command('add', '1', '0'),
      {
        name: '1',
        'meta-type': 'object',
        members: [
          { name: 'driver', type: '2' },
          { name: 'id', type: 'str' },
        ],
        tag: 'driver',
        variants: [
          { case: 'a', type: '3' },
          { case: 'b', type: '3' },
          { case: 'none', type: '0' },
        ],
      },
      { name: '2', 'meta-type': 'enum', members: [{ name: 'a' }, { name: 'b' }, { name: 'none' }] },
      { name: '3', 'meta-type': 'object', members: [{ name: 'size', type: 'str' }] },
    ]),
  )

  assert.match(
    files.get('types.ts') ?? '',
    /AddArguments = \{\n {2}readonly id: string\n\} & \(\n {2}\| \(\{ readonly driver: 'a' \| 'b' \} & AddForA\)\n {2}\| \{ readonly driver: 'none' \}\n\)/,
  )
})

test('A type that was no union in an older version may lack the tag', () => {
  const version = (name: string, type: Entity): Introspection =>
    introspection(name, [string, empty, command('query-a', '0', '1'), type])
  const plain: Entity = { name: '1', 'meta-type': 'object', members: [{ name: 'size', type: 'str' }] }
  const union: Entity = {
    name: '1',
    'meta-type': 'object',
    members: [{ name: 'kind', type: 'str' }],
    tag: 'kind',
    variants: [{ case: 'a', type: '0' }],
  }

  const files = generate(version('7.2', plain), version('10.0', union))

  assert.match(
    files.get('types.ts') ?? '',
    /readonly size\?: string \| undefined\n\} & \(\n {2}\| \{ .*readonly kind: 'a' \}\n {2}\| \{ readonly kind\?: undefined \}\n\)/,
  )
})

test('Names of commands and events become names of types', () => {
  const names = ['query-qmp-schema', 'BLOCK_JOB_READY', 'block_set_io_throttle', 'x-colo-lost-heartbeat']

  assert.deepEqual(names.map(pascalCase), [
    'QueryQmpSchema',
    'BlockJobReady',
    'BlockSetIoThrottle',
    'XColoLostHeartbeat',
  ])
})
