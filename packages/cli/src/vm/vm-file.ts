/** Files that describe a VM: `name` and `spec`, in YAML or JSON. The daemon judges the spec; here only the outermost keys are read. */
import { readFile } from 'node:fs/promises'
import type { VmSpecInput } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'

/** What a file says. */
export interface VmFile {
  readonly name: string
  readonly spec: VmSpecInput
}

/** What `kvasir vm show -o yaml` prints beside name and spec, so that its output is such a file. */
const shownOnly = new Set(['uuid', 'revision', 'createdAt', 'status'])

/** The largest file that is read, in bytes; a spec with a large user-data still fits. */
const maxFileBytes = 4 * 1024 * 1024

/** Reads a file with one VM; `-` is stdin. Throws `file-not-found` and `bad-request`. */
export async function readVmFile(file: string): Promise<VmFile> {
  const shown = file === '-' ? 'stdin' : file
  return parseVmFile(file === '-' ? await readStdin() : await readText(file), shown)
}

/** Parses the text of such a file. Throws `bad-request` with the place. */
export async function parseVmFile(text: string, shown: string): Promise<VmFile> {
  const content = await parseYaml(text, shown)
  if (!isMapping(content)) throw refused(`${shown} holds no mapping; it needs the keys name and spec.`)
  const unknown = Object.keys(content).filter(
    (key) => key !== 'name' && key !== 'spec' && !shownOnly.has(key),
  )
  if (unknown.length > 0) {
    throw refused(
      `${shown} has the unknown key ${unknown.join(', ')}; it takes name and spec, and the rest belongs into spec.`,
    )
  }
  const { name, spec } = content
  if (typeof name !== 'string') throw refused(`${shown} has no name, or one that is no text.`)
  if (!isMapping(spec)) throw refused(`${shown} has no spec, or one that is no mapping.`)
  return { name, spec: spec as VmSpecInput } // The daemon's schema judges what is in it.
}

/** Reads the text of a file; `-` is stdin. Throws `file-not-found` and `bad-request`. */
export async function readYaml(file: string): Promise<unknown> {
  return await parseYaml(
    file === '-' ? await readStdin() : await readText(file),
    file === '-' ? 'stdin' : file,
  )
}

/** Parses one YAML document, which JSON is too. Throws `bad-request` with line and column. */
export async function parseYaml(text: string, shown: string): Promise<unknown> {
  const { parseDocument } = await import('yaml')
  const document = parseDocument(text, { prettyErrors: true })
  const [error] = document.errors
  if (error !== undefined)
    throw refused(`${shown} is not YAML: ${error.message.split('\n')[0]?.replace(/:$/, '') ?? ''}.`)
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    throw new KvasirError('bad-request', `${shown} is not YAML that can be read.`, { cause })
  }
}

async function readText(file: string): Promise<string> {
  try {
    const text = await readFile(file, 'utf8')
    if (text.length > maxFileBytes) throw refused(`${file} is larger than ${maxFileBytes} bytes.`)
    return text
  } catch (cause) {
    if (cause instanceof KvasirError) throw cause
    throw new KvasirError('file-not-found', `File ${file} cannot be read.`, { cause })
  }
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin) {
    const bytes = Buffer.from(chunk)
    size += bytes.length
    if (size > maxFileBytes) throw refused(`stdin is larger than ${maxFileBytes} bytes.`)
    chunks.push(bytes)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function refused(sentence: string): KvasirError {
  return new KvasirError('bad-request', sentence)
}
