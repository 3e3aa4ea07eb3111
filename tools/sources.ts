/** The repository's own files as the rules of layers.ts and tidy.ts see them: a path from the root, a text, a syntax tree. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'

const gitTimeoutMs = 30_000
const maxListBytes = 16 * 1024 * 1024

/** A file of the repository. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

/** A rule that a file breaks, in words, and where. */
export interface Violation {
  readonly path: string
  readonly line: number
  readonly rule: string
}

/** A named import, or all of a module: which, from where, on which line. */
export interface Import {
  readonly specifier: string
  readonly names: readonly string[]
  readonly line: number
}

/** Every file that git knows or would add, without what .gitignore names. */
export function listRepository(root: string): readonly string[] {
  const argv = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const text = execFileSync('git', argv, {
    cwd: root,
    encoding: 'utf8',
    timeout: gitTimeoutMs,
    maxBuffer: maxListBytes,
  })
  return [...new Set(text.split('\0'))]
    .filter((path) => path !== '' && existsSync(join(root, path)))
    .toSorted()
}

/** The TypeScript that people wrote: generated files are left out. */
export function readSources(root: string): readonly SourceFile[] {
  return listRepository(root)
    .filter((path) => /\.tsx?$/.test(path) && !isGenerated(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

/** Whether a program writes this file. */
function isGenerated(path: string): boolean {
  return /(^|\/)generated\//.test(path) || path.endsWith('.generated.ts')
}

/** The syntax tree of a file, with parents. */
export function parse(file: SourceFile): ts.SourceFile {
  return ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ESNext, true)
}

/** The line of a node, counted from 1. */
export function lineOf(node: ts.Node, tree: ts.SourceFile): number {
  return tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1
}

/** Calls `visit` for a node and everything below it. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}

/** Every import, export-from and `import()` of a file, type imports as well. */
export function importsOf(tree: ts.SourceFile): readonly Import[] {
  const found: Import[] = []
  walk(tree, (node) => {
    const specifier = specifierOf(node)
    if (specifier !== undefined) found.push({ specifier, names: namesOf(node), line: lineOf(node, tree) })
  })
  return found
}

function specifierOf(node: ts.Node): string | undefined {
  let literal: ts.Node | undefined
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) literal = node.moduleSpecifier
  else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    literal = node.arguments[0]
  } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) literal = node.argument.literal
  return literal !== undefined && ts.isStringLiteral(literal) ? literal.text : undefined
}

function namesOf(node: ts.Node): readonly string[] {
  if (!ts.isImportDeclaration(node)) return ['*']
  const bindings = node.importClause?.namedBindings
  if (bindings === undefined || !ts.isNamedImports(bindings)) return ['*']
  return bindings.elements.map((element) => (element.propertyName ?? element.name).text)
}
