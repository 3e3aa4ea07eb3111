/** The pages of a guest's memory as the host's kernel has them: what is in each, and whether KSM has merged it. Formats: proc(5), mm/pagemap.rst. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'

const pageBytes = 4096
const chunkPages = 256
const presentBit = 1n << 63n
const frameBits = (1n << 55n) - 1n
/** KPF_KSM of kpageflags. */
const ksmBit = 1n << 21n

/** One page that is in memory and not all zeros. */
export interface GuestPage {
  readonly digest: string
  readonly isMerged: boolean
}

/** The one mapping of a process that has the size of the guest's memory, from smaps. */
export function guestMapping(pid: number, bytes: number): string {
  const blocks = readFileSync(`/proc/${pid}/smaps`, 'utf8')
    .trim()
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const isIt = (block: string) => new RegExp(`^Size:\\s+${bytes / 1024} kB$`, 'm').test(block)
  return blocks.find(isIt) ?? assert.fail(`no mapping of ${bytes} bytes`)
}

/** The pages of the one mapping of a process that has the size of the guest's memory. The guest should stand still. */
export async function guestPages(pid: number, sizeBytes: number): Promise<readonly GuestPage[]> {
  const start = await mappingOf(pid, sizeBytes)
  await using memory = await open(`/proc/${pid}/mem`)
  await using map = await open(`/proc/${pid}/pagemap`)
  await using flags = await open('/proc/kpageflags')
  const zeros = digestOf(Buffer.alloc(pageBytes))
  const pages: GuestPage[] = []
  for (let page = 0; page < sizeBytes / pageBytes; page += chunkPages) {
    const at = start + page * pageBytes
    const entries = Buffer.alloc(chunkPages * 8)
    const content = Buffer.alloc(chunkPages * pageBytes)
    await map.read(entries, 0, entries.length, (at / pageBytes) * 8)
    await memory.read(content, 0, content.length, at)
    for (let index = 0; index < chunkPages; index += 1) {
      const entry = entries.readBigUInt64LE(index * 8)
      if ((entry & presentBit) === 0n) continue
      const digest = digestOf(content.subarray(index * pageBytes, (index + 1) * pageBytes))
      if (digest === zeros) continue
      const word = Buffer.alloc(8)
      await flags.read(word, 0, 8, Number(entry & frameBits) * 8)
      pages.push({ digest, isMerged: (word.readBigUInt64LE() & ksmBit) !== 0n })
    }
  }
  return pages
}

async function mappingOf(pid: number, sizeBytes: number): Promise<number> {
  for (const line of (await readFile(`/proc/${pid}/maps`, 'utf8')).split('\n')) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
    if (from !== undefined && to !== undefined && Number(`0x${to}`) - Number(`0x${from}`) === sizeBytes)
      return Number(`0x${from}`)
  }
  throw new Error(`Process ${pid} has no mapping of ${sizeBytes} bytes.`)
}

function digestOf(page: Buffer): string {
  return createHash('sha1').update(page).digest('base64')
}
