/**
 * Who may import whom: the table of the architecture page as rules over source files.
 *
 * A room is a folder with a name; each may import itself, Node, npm packages, and the rooms in its row. Tests wire things together
 * as main.ts does, so they may import everything of their own package; no room may import another's tests.
 *
 * Not here: what a file may look like (tidy.ts).
 */
import { posix } from 'node:path'
import ts from 'typescript'
import { importsOf, lineOf, parse, type SourceFile, type Violation, walk } from './sources.ts'

type Row = readonly Room[] | 'everything'

const inner = ['contract', 'model', 'ports'] as const

const table = {
  contract: [],
  qmp: [],
  'libvirt-rpc': [],
  'libvirt-xml': [],
  linux: [],
  sdk: ['contract'],
  cli: ['sdk', 'contract', 'model', 'linux'], // The latter two for captured hosts: decision 9.
  web: ['sdk', 'contract'],
  model: ['contract'],
  ports: inner,
  services: inner,
  supervisor: inner,
  store: inner,
  simulated: inner,
  host: [...inner, 'qmp', 'linux'],
  api: ['contract', 'services'],
  libvirt: ['contract', 'services', 'libvirt-rpc', 'libvirt-xml'],
  config: ['contract'],
  wire: ['contract', 'model', 'ports', 'services', 'supervisor', 'config'],
  main: 'everything',
  e2e: ['sdk', 'contract'],
  bench: ['sdk', 'contract', 'linux', 'qmp', 'e2e', 'model'], // The last for the planner, which is simulated: decision 11.
  lab: ['sdk', 'contract', 'linux', 'qmp', 'e2e'], // Its own emulator, and the words of tests: decision 10.
  tools: ['sdk', 'contract', 'linux', 'lab', 'e2e'],
} as const satisfies Record<string, readonly string[] | 'everything'>

/** A folder whose imports have a rule. */
export type Room = keyof typeof table

const daemonRooms = new Set<string>([
  'model',
  'ports',
  'services',
  'supervisor',
  'store',
  'simulated',
  'host',
  'api',
  'libvirt',
])
const roomsWithFiles = new Set<Room>([
  'host',
  'store',
  'linux',
  'qmp',
  'main',
  'config',
  'cli',
  'tools',
  'e2e',
  'bench',
  'lab',
])
const outside = /^node:(child_process|fs|fs\/promises)$/

/** What a pure room may take from Node: functions of their arguments. */
const pureNode = new Map<string, readonly string[]>([
  ['node:path', ['*']],
  ['node:path/posix', ['*']],
  ['node:buffer', ['*']],
  ['node:util', ['*']],
  ['node:url', ['*']],
  ['node:net', ['isIP', 'isIPv4', 'isIPv6', 'BlockList', 'SocketAddress']],
  ['node:crypto', ['createHash', 'hash', 'Hash']],
  ['node:zlib', ['crc32', 'deflateSync', 'inflateSync', 'constants']],
])

/** The room of a file, or nothing when the table has no row for it. */
function roomOf(path: string): Room | undefined {
  const [top, second, src, room, ...rest] = path.split('/')
  if (isRoom(top) && ['e2e', 'bench', 'lab', 'tools'].includes(top)) return top
  if (top !== 'packages') return undefined
  if (second !== 'daemon') return isRoom(second) ? second : undefined
  if (src !== 'src' || room === undefined) return undefined
  if (room === 'testing') return 'main' // Wires a daemon for tests, as main.ts does; only tests may import it.
  if (rest.length > 0) return isRoom(room) && daemonRooms.has(room) ? room : undefined
  if (room.startsWith('main.') || room === 'index.ts') return 'main'
  if (room.startsWith('wire.')) return 'wire'
  return room.startsWith('config.') || room === 'version.ts' ? 'config' : undefined
}

function isRoom(name: string | undefined): name is Room {
  return name !== undefined && Object.hasOwn(table, name)
}

function isTest(path: string): boolean {
  return /\.(test|suite|e2e|bench|lab)\.ts$/.test(path) || /(^|\/)testing\//.test(path)
}

/** The violations of a file against the table and against what is deliberately absent from its room; its tree is given where there is one already. */
export function layerViolations(file: SourceFile, tree?: ts.SourceFile): readonly Violation[] {
  const room = roomOf(file.path)
  if (room === undefined) {
    return [{ path: file.path, line: 1, rule: 'this file is in no room of the architecture; give it one' }]
  }
  const parsed = tree ?? parse(file)
  const moduleState = isTest(file.path) ? [] : stateViolations(parsed)
  const imports = importsOf(parsed).flatMap((item) =>
    importRules({ path: file.path, room, ...item }).map((rule) => ({ line: item.line, rule })),
  )
  const purity = room === 'model' && !isTest(file.path) ? purityViolations(parsed) : []
  return [...imports, ...moduleState, ...purity].map((found) => ({ path: file.path, ...found }))
}

interface Arrow {
  readonly path: string
  readonly room: Room
  readonly specifier: string
  readonly names: readonly string[]
}

function importRules(arrow: Arrow): readonly string[] {
  if (arrow.specifier.startsWith('node:')) return nodeRules(arrow)
  const target = resolve(arrow)
  if (target === undefined) return []
  const to = roomOf(target)
  if (to === undefined) return [`${arrow.room} imports ${target}, which is in no room`]
  if (isTest(target) && !isTest(arrow.path))
    return [`${arrow.specifier} is part of a test, and only tests import those`]
  return mayImport(arrow, to) ? [] : [`${arrow.room} may not import ${to} (${arrow.specifier})`]
}

function mayImport({ path, room, specifier }: Arrow, to: Room): boolean {
  const row: Row = table[room]
  if (to === room || row === 'everything' || row.includes(to)) return true
  if (!isTest(path)) return false
  // Storage that is real in the lab alone: a backend's own suite runs there (CONTRIBUTING.md, "Add a backend of pools").
  if (room === 'lab' && path.endsWith('-pool.lab.ts') && (to === 'host' || to === 'ports')) return true
  const isDaemons = (name: Room) => daemonRooms.has(name) || ['main', 'config', 'wire'].includes(name)
  if (to === 'tools') return /tools\/(require|fuzz-runs|servers\/[\w-]+)\.ts$/.test(specifier)
  return isDaemons(room) && (isDaemons(to) || ['qmp', 'linux', 'sdk'].includes(to))
}

function nodeRules({ path, room, specifier, names }: Arrow): readonly string[] {
  if (isTest(path)) return []
  if (outside.test(specifier) && !roomsWithFiles.has(room))
    return [`${room} may not touch the machine (${specifier})`]
  if (room === 'contract') return [`contract also runs in a browser, so it may not import ${specifier}`]
  if (room !== 'model') return []
  const allowed = pureNode.get(specifier) ?? []
  const impure = names.filter((name) => !allowed.includes(name) && !allowed.includes('*'))
  return impure.length === 0
    ? []
    : [`model is pure, so it may not import ${impure.join(', ')} from ${specifier}`]
}

/** The path from the root that an import of ours leads to; nothing for an npm package. */
function resolve({ path, specifier }: Arrow): string | undefined {
  if (specifier.startsWith('.')) return posix.normalize(posix.join(posix.dirname(path), specifier))
  const ours = /^@kvasir\/([a-z-]+)/.exec(specifier)?.[1]
  if (ours === undefined) return undefined
  if (ours === 'daemon') {
    const inside = /^@kvasir\/daemon\/(model\/.+)$/.exec(specifier)?.[1]
    return `packages/daemon/src/${inside ?? 'main'}.ts`
  }
  return ['e2e', 'bench', 'tools', 'lab'].includes(ours)
    ? `${ours}/index.ts`
    : `packages/${ours}/src/index.ts`
}

type Found = Omit<Violation, 'path'>

/** No module-level `let`, and no empty container at module level, which could only be there to be filled. */
function stateViolations(tree: ts.SourceFile): readonly Found[] {
  return tree.statements.filter(ts.isVariableStatement).flatMap((statement) => {
    const line = lineOf(statement, tree)
    if ((statement.declarationList.flags & ts.NodeFlags.Const) === 0) {
      return [{ line, rule: 'a module has no state: no `let` or `var` outside a function' }]
    }
    const filled = statement.declarationList.declarations.filter((item) => isEmptyContainer(item.initializer))
    return filled.map((item) => ({
      line,
      rule: `a module has no state: ${item.name.getText(tree)} is an empty container to be filled`,
    }))
  })
}

function isEmptyContainer(node: ts.Expression | undefined): boolean {
  if (node === undefined) return false
  if (ts.isArrayLiteralExpression(node)) return node.elements.length === 0
  if (!ts.isNewExpression(node) || !ts.isIdentifier(node.expression)) return false
  const isContainer = ['Map', 'Set', 'WeakMap', 'WeakSet'].includes(node.expression.text)
  return isContainer && (node.arguments?.length ?? 0) === 0
}

const impureGlobals = new Set([
  'process',
  'performance',
  'fetch',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'Promise',
])
const impureMembers = new Set(['Date.now', 'Math.random', 'crypto.randomUUID', 'crypto.getRandomValues'])

/** No clock, no randomness, no promises. */
function purityViolations(tree: ts.SourceFile): readonly Found[] {
  const found: Found[] = []
  const report = (node: ts.Node, what: string) =>
    found.push({ line: lineOf(node, tree), rule: `model is pure, so it has no ${what}` })
  walk(tree, (node) => {
    if (node.kind === ts.SyntaxKind.AsyncKeyword) report(node, 'async functions')
    if (ts.isAwaitExpression(node)) report(node, 'await')
    if (ts.isPropertyAccessExpression(node) && impureMembers.has(node.getText(tree)))
      report(node, node.getText(tree))
    if (ts.isNewExpression(node) && node.getText(tree) === 'new Date()') report(node, 'new Date() of now')
    if (ts.isIdentifier(node) && impureGlobals.has(node.text) && isReference(node)) report(node, node.text)
  })
  return found
}

/** Whether an identifier names a value or a type, and is not the name of somebody's member or parameter. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node
  if (ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent)) return parent.name !== node
  return (
    !(ts.isParameter(parent) || ts.isBindingElement(parent) || ts.isVariableDeclaration(parent)) ||
    parent.name !== node
  )
}
