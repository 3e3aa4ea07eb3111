/**
 * What a file may look like: sizes, names, tests that run, comments that say what they wait for. Each rule is a function from a
 * file to its violations.
 *
 * Not here: who may import whom (layers.ts); what the formatter and the linters see by themselves (biome.json, .oxlintrc.json).
 */
import ts from 'typescript'
import { lineOf, parse, type SourceFile, type Violation, walk } from './sources.ts'

/** The most lines of a file that people wrote. */
const maxFileLines = 300
/** The most lines of a function, from its first to its last. */
const maxFunctionLines = 70

type Found = Omit<Violation, 'path'>

/** The violations of one TypeScript file; its tree is given where there is one already. */
export function tidyViolations(file: SourceFile, tree = parse(file)): readonly Violation[] {
  const rules = [fileLength, functionLength, bannedNames, defaultExports, enums, onlyTests, silentSkips]
  const found = [...rules.flatMap((rule) => rule(tree)), ...namelessPath(file.path), ...openEnds(file.text)]
  return found.map((item) => ({ path: file.path, ...item }))
}

function fileLength(tree: ts.SourceFile): readonly Found[] {
  const lines = tree.text.trimEnd().split('\n').length
  if (lines <= maxFileLines) return []
  return [{ line: lines, rule: `${lines} lines are more than ${maxFileLines}: look for the second idea` }]
}

function functionLength(tree: ts.SourceFile): readonly Found[] {
  return collect(tree, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined || isSuite(node))
      return undefined
    const first = tree.getLineAndCharacterOfPosition(node.getStart(tree)).line
    const lines = tree.getLineAndCharacterOfPosition(node.end).line - first + 1
    return lines > maxFunctionLines
      ? `a function of ${lines} lines is longer than ${maxFunctionLines}`
      : undefined
  })
}

/** The callback of a `describe`: as long as its tests together. */
function isSuite(node: ts.Node): boolean {
  return ts.isCallExpression(node.parent) && /^(describe|suite)\b/.test(node.parent.expression.getText())
}

const bannedWord = /^(utils?|helpers|misc|managers?)$/i
/** Words that are drawers when a file or a folder is called so, and plain English inside a longer name. */
const bannedFile = /^(utils?|helpers?|common|misc|lib)$/i

function bannedNames(tree: ts.SourceFile): readonly Found[] {
  return collect(tree, (node) => {
    if (!isNamedDeclaration(node) || node.name === undefined || !ts.isIdentifier(node.name)) return undefined
    const word = wordsOf(node.name.text).find((part) => bannedWord.test(part))
    return word === undefined ? undefined : `${node.name.text}: "${word}" says nothing; name the idea`
  })
}

function isNamedDeclaration(node: ts.Node): node is ts.ClassDeclaration | ts.InterfaceDeclaration {
  return ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)
}

/** The words of an identifier or a file name: `vmManager` and `vm-manager` are `vm` and `manager`. */
function wordsOf(name: string): readonly string[] {
  return name.split(/[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])/).filter((part) => part !== '')
}

function namelessPath(path: string): readonly Found[] {
  const names = path.replace(/\.tsx?$/, '').split('/')
  const word =
    names.find((name) => bannedFile.test(name)) ??
    names.flatMap(wordsOf).find((part) => bannedWord.test(part))
  return word === undefined ? [] : [{ line: 1, rule: `"${word}" in a path says nothing; name the idea` }]
}

function defaultExports(tree: ts.SourceFile): readonly Found[] {
  if (tree.fileName.endsWith('.config.ts')) return []
  return collect(tree, (node) => {
    const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : []
    const isDefault = modifiers.some((modifier) => modifier.kind === ts.SyntaxKind.DefaultKeyword)
    return isDefault || ts.isExportAssignment(node) ? 'no default exports' : undefined
  })
}

function enums(tree: ts.SourceFile): readonly Found[] {
  return collect(tree, (node) =>
    ts.isEnumDeclaration(node)
      ? 'no enums, which type stripping cannot load: write an `as const` table'
      : undefined,
  )
}

const testFunctions = new Set(['test', 'it', 'describe', 'suite', 't'])

function onlyTests(tree: ts.SourceFile): readonly Found[] {
  return collect(tree, (node) => {
    if (isTestMember(node, 'only')) return '.only leaves the other tests out'
    return isTestOption(node, 'only') ? 'only leaves the other tests out' : undefined
  })
}

/** A skip must say why: `.skip('...', ...)` has no place for a reason, and `skip: true` has none. */
function silentSkips(tree: ts.SourceFile): readonly Found[] {
  return collect(tree, (node) => {
    if (isTestMember(node, 'skip') && !isSkipWithReason(node.parent)) return 'a skip without a reason'
    if (isTestMember(node, 'todo')) return 'a test that is still to be written is no test'
    const isSilent = isTestOption(node, 'skip') && node.initializer.kind === ts.SyntaxKind.TrueKeyword
    return isSilent ? 'a skip without a reason' : undefined
  })
}

/** `t.skip('why')`, called inside a test. */
function isSkipWithReason(call: ts.Node): boolean {
  return ts.isCallExpression(call) && call.expression.getText().startsWith('t.') && call.arguments.length > 0
}

function isTestMember(node: ts.Node, member: string): boolean {
  if (!ts.isPropertyAccessExpression(node) || node.name.text !== member) return false
  return ts.isIdentifier(node.expression) && testFunctions.has(node.expression.text)
}

/** A property in the options of a test: `test('...', { skip: true }, ...)`. */
function isTestOption(node: ts.Node, name: string): node is ts.PropertyAssignment {
  if (!ts.isPropertyAssignment(node) || node.name.getText() !== name) return false
  const call = node.parent.parent
  return ts.isCallExpression(call) && testFunctions.has(call.expression.getText().replace(/\..*/, ''))
}

const openEnd = /\b(TODO|FIXME|XXX|HACK)\b(?!\((?:waits for|until|when|after) [^)]{3,}\))/

/** An open end names what it waits for, as in `TODO(waits for virtual networks): ...`. */
function openEnds(text: string): readonly Found[] {
  return text.split('\n').flatMap((content, index) => {
    const mark = /(\/\/|\*).*/.exec(content)?.[0].match(openEnd)?.[1]
    return mark === undefined ? [] : [{ line: index + 1, rule: `${mark} does not say what it waits for` }]
  })
}

/** The violations that a rule sees in the nodes of a tree. */
function collect(tree: ts.SourceFile, rule: (node: ts.Node) => string | undefined): readonly Found[] {
  const found: Found[] = []
  walk(tree, (node) => {
    const sentence = rule(node)
    if (sentence !== undefined) found.push({ line: lineOf(node, tree), rule: sentence })
  })
  return found
}

/**
 * The lines of any file that name the machine it was written on: the checkout's own path, or where the lockfile's packages were
 * fetched from. Nothing is said of a checkout right below the root, whose name may be a word.
 */
export function workplaceViolations(file: SourceFile, checkout: string): readonly Violation[] {
  const path =
    checkout.split('/').length > 2
      ? new RegExp(`(?<![\\w./-])${RegExp.escape(checkout)}(?![\\w-])`)
      : undefined
  return file.text.split('\n').flatMap((content, index) => {
    const at = { path: file.path, line: index + 1 }
    if (path?.test(content)) return [{ ...at, rule: 'it names the folder of this very checkout' }]
    const isLock = file.path.endsWith('package-lock.json')
    return isLock && /"resolved": "https?:/.test(content)
      ? [{ ...at, rule: 'it names a host of packages' }]
      : []
  })
}
