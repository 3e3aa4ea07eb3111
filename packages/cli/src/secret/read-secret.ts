/** What a secret is, from a file or stdin: never from the command line, which every user of the host can read. */
import { open } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract/error-table'

/** Twice what the daemon takes, so that it is the daemon that says what is too long. */
const mostBytes = 8192

/** Reads a secret; `-` is stdin. One line break at the end is left out. `file-not-found`, `bad-request`. */
export async function readSecret(file: string): Promise<string> {
  const shown = file === '-' ? 'stdin' : file
  const bytes = file === '-' ? await firstBytes(process.stdin) : await readFirst(file)
  if (bytes.length > mostBytes)
    throw refused(`${shown} is longer than ${mostBytes} bytes, so it is no secret.`)
  const text = decoded(bytes, shown).replace(/\r?\n$/, '')
  if (text === '') throw refused(`${shown} is empty, so there is no secret in it.`)
  return text
}

async function readFirst(file: string): Promise<Buffer> {
  try {
    await using handle = await open(file)
    return await firstBytes(handle.createReadStream({ end: mostBytes }))
  } catch (cause) {
    throw new KvasirError('file-not-found', `File ${file} cannot be read.`, { cause })
  }
}

async function firstBytes(stream: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    chunks.push(bytes)
    size += bytes.length
    if (size > mostBytes) break
  }
  return Buffer.concat(chunks)
}

function decoded(bytes: Buffer, shown: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw refused(`${shown} is no text in UTF-8; write binary keys in base64.`)
  }
}

function refused(sentence: string): KvasirError {
  return new KvasirError('bad-request', sentence)
}
