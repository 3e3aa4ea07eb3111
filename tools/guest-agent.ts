/**
 * The guest agent for tests, without installing its package, which would start a service: the package is fetched and unpacked into
 * .cache, and its program is run from there.
 *
 * Not here: the agent inside guests (packages/daemon/src/host/images).
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const fetchTimeoutMs = 120_000
const unpackTimeoutMs = 30_000
const cache = join(import.meta.dirname, '../.cache')
const program = 'usr/sbin/qemu-ga'

/** The path of an agent that runs on this machine; undefined, after saying why, where there is none. */
export async function provideGuestAgent(say: (line: string) => void): Promise<string | undefined> {
  const installed = [process.env['KVASIR_QEMU_GA'] ?? '', `/${program}`, '/usr/bin/qemu-ga']
  const found = installed.find((path) => path !== '' && existsSync(path))
  if (found !== undefined) return found
  const folder = join(cache, 'guest-agent')
  if (!existsSync(join(folder, program))) {
    try {
      await unpackInto(folder)
    } catch (error) {
      say(
        `The guest agent cannot be unpacked for its tests: ${error instanceof Error ? error.message : 'unknown'}`,
      )
      return undefined
    }
  }
  return join(folder, program)
}

/** A folder that is there is whole: it is filled under another name. */
async function unpackInto(folder: string): Promise<void> {
  mkdirSync(cache, { recursive: true })
  const fresh = mkdtempSync(join(cache, 'guest-agent-'))
  try {
    // As root, apt warns of the folder's owner and fetches all the same.
    await run('apt-get', ['-q', 'download', 'qemu-guest-agent'], { cwd: fresh, timeout: fetchTimeoutMs })
    const name = readdirSync(fresh).find((file) => file.endsWith('.deb'))
    if (name === undefined) throw new Error('apt-get fetched no package.')
    await run('dpkg-deb', ['-x', name, '.'], { cwd: fresh, timeout: unpackTimeoutMs })
    if (!existsSync(join(fresh, program))) throw new Error(`The package has no ${program}.`)
    renameSync(fresh, folder)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}
