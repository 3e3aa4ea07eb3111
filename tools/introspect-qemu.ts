/**
 * Asks a QEMU binary what QMP it speaks and writes the answer as data for tools/generate-qmp.ts.
 *
 *     node tools/introspect-qemu.ts /usr/bin/qemu-system-x86_64 [FOLDER]
 *
 * The file is FOLDER/MAJOR.MINOR.json (FOLDER is specs/qmp when absent): query-version and
 * query-qmp-schema, one entity a line, so that a diff of two versions can be read. Type names in it are
 * the anonymous ones that QEMU gives itself; they mean nothing outside one file.
 */
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isRecord } from './generate-qmp-introspection.ts'

const answerTimeoutMs = 10_000
const maxAnswerBytes = 16 * 1024 * 1024

/** Runs a binary with an empty machine and gives what it answers to the introspection commands. */
async function introspect(binary: string): Promise<{ version: unknown; schema: readonly unknown[] }> {
  const argv = ['-machine', 'none', '-nodefaults', '-display', 'none', '-qmp', 'stdio']
  const qemu = spawn(binary, argv, { stdio: ['pipe', 'pipe', 'inherit'], timeout: answerTimeoutMs })
  const commands = ['qmp_capabilities', 'query-version', 'query-qmp-schema', 'quit']
  qemu.stdin.end(commands.map((execute) => JSON.stringify({ execute, id: execute })).join('\n'))

  let text = ''
  for await (const chunk of qemu.stdout.setEncoding('utf8')) {
    text += String(chunk)
    if (text.length > maxAnswerBytes)
      throw new Error(`${binary} answers more than ${maxAnswerBytes} characters.`)
  }
  const answers = new Map<unknown, unknown>()
  for (const line of text.split('\n').filter((part) => part.trim() !== '')) {
    const message: unknown = JSON.parse(line)
    if (isRecord(message)) answers.set(message['id'], message['return'])
  }
  const schema = answers.get('query-qmp-schema')
  if (!Array.isArray(schema))
    throw new Error(`${binary} did not answer query-qmp-schema, so nothing is written.`)
  return { version: answers.get('query-version'), schema }
}

/** One entity a line; the values of enums, which QEMU lists twice, are kept once. */
function formatIntrospection(version: unknown, schema: readonly unknown[]): string {
  const lines = schema.map((entity) => {
    const { values: _values, ...rest } = isRecord(entity) ? entity : {}
    return JSON.stringify(isRecord(entity) && 'members' in entity ? rest : entity)
  })
  return `{\n"version": ${JSON.stringify(version)},\n"schema": [\n${lines.join(',\n')}\n]\n}\n`
}

async function main(): Promise<void> {
  const [binary, folder = 'specs/qmp'] = process.argv.slice(2)
  if (binary === undefined) {
    console.error('usage: node tools/introspect-qemu.ts BINARY [FOLDER]')
    process.exitCode = 2
    return
  }
  const { version, schema } = await introspect(binary)
  const qemu = isRecord(version) ? version['qemu'] : undefined
  if (!isRecord(qemu)) throw new Error(`${binary} did not state its version, so nothing is written.`)
  const file = join(folder, `${String(qemu['major'])}.${String(qemu['minor'])}.json`)
  await writeFile(file, formatIntrospection(version, schema))
  console.log(`${file}: ${schema.length} entities`)
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main()
