/**
 * Whether the host passes packets on: switched on while a network needs it, and then put back to what it was.
 *
 * Who needs it and what was there before stand in a file before anything is switched, so a daemon that dies is followed by one that
 * can still put it back. The file lies in the runtime directory: a boot of the host forgets both.
 *
 * IPv6 can only be forwarded by all links or none, and a link that forwards takes no default route from routers any more unless it is
 * told to (accept_ra 2): those that did are told so. Facts: the kernel's Documentation/networking/ip-sysctl.rst.
 */
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'

const written = z.object({ path: z.string(), before: z.string(), value: z.string() })
const noted = z.object({
  ipv4: z.object({ users: z.array(z.string()), files: z.array(written) }),
  ipv6: z.object({ users: z.array(z.string()), files: z.array(written) }),
})

type Noted = z.output<typeof noted>
type FamilyWord = keyof Noted
const families: readonly FamilyWord[] = ['ipv4', 'ipv6']
const switches = {
  ipv4: '/proc/sys/net/ipv4/ip_forward',
  ipv6: '/proc/sys/net/ipv6/conf/all/forwarding',
} as const

/** Forwarding on this host, for the networks of one daemon. Calls follow each other. */
export class Forwarding {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** A network needs forwarding of these families. */
  async need(networkId: string, wanted: readonly FamilyWord[]): Promise<void> {
    const now = await this.#read()
    for (const family of wanted) {
      const { users, files } = now[family]
      const isOn = (await readSetting(switches[family])) === '1'
      now[family] = {
        users: [...new Set([...users, networkId])],
        files: isOn ? files : await changesOf(family),
      }
    }
    await this.#write(now)
    for (const family of wanted)
      for (const { path, value } of now[family].files) await writeSetting(path, value)
  }

  /** A network does not need it any more; who was the last gives it back. */
  async release(networkId: string): Promise<void> {
    const now = await this.#read()
    for (const family of families) {
      const { users, files } = now[family]
      if (!users.includes(networkId)) continue
      const left = users.filter((user) => user !== networkId)
      if (left.length === 0) await putBack(files)
      now[family] = { users: left, files: left.length === 0 ? [] : files }
    }
    await this.#write(now)
  }

  /** The families that are needed by a network and not forwarded. */
  async missing(networkId: string): Promise<readonly FamilyWord[]> {
    const now = await this.#read()
    const off: FamilyWord[] = []
    for (const family of families)
      if (now[family].users.includes(networkId) && (await readSetting(switches[family])) !== '1')
        off.push(family)
    return off
  }

  async #read(): Promise<Noted> {
    const text = await readFile(this.#path, 'utf8').catch(() => undefined)
    const none = { ipv4: { users: [], files: [] }, ipv6: { users: [], files: [] } }
    if (text === undefined) return none
    try {
      return noted.parse(JSON.parse(text))
    } catch {
      return none // Only a file that was written whole has this name: somebody else wrote there.
    }
  }

  async #write(now: Noted): Promise<void> {
    if (families.every((family) => now[family].users.length === 0)) {
      await rm(this.#path, { force: true })
      return
    }
    await writeFile(`${this.#path}.new`, JSON.stringify(now), { mode: 0o600 })
    await rename(`${this.#path}.new`, this.#path)
  }
}

/** What is to be written to switch a family on, with what is there now. The switch itself comes last: it changes files of links too. */
async function changesOf(family: FamilyWord): Promise<Noted['ipv4']['files']> {
  const files: Noted['ipv4']['files'] = []
  if (family === 'ipv6')
    for (const link of await linksTakingRoutes())
      files.push({ path: `/proc/sys/net/ipv6/conf/${link}/accept_ra`, before: '1', value: '2' })
  // The switch changes these when it is put back, too.
  for (const path of await forwardingLinks(family)) files.push({ path, before: '1', value: '1' })
  files.push({ path: switches[family], before: (await readSetting(switches[family])) ?? '0', value: '1' })
  return files
}

/** Links that take default routes from routers, and would cease to. */
async function linksTakingRoutes(): Promise<readonly string[]> {
  const folder = '/proc/sys/net/ipv6/conf'
  const links = await readdir(folder).catch(() => [])
  const taking = await Promise.all(
    links
      .filter((link) => link !== 'lo' && link !== 'all' && link !== 'default')
      .map(async (link) => ((await readSetting(join(folder, link, 'accept_ra'))) === '1' ? link : undefined)),
  )
  return taking.filter((link) => link !== undefined)
}

/** The files of links that forward by themselves while the switch is off. */
async function forwardingLinks(family: FamilyWord): Promise<readonly string[]> {
  const folder = `/proc/sys/net/${family}/conf`
  const links = await readdir(folder).catch(() => [])
  const paths = links.filter((link) => link !== 'all').map((link) => join(folder, link, 'forwarding'))
  const states = await Promise.all(paths.map(readSetting))
  return paths.filter((_, index) => states[index] === '1')
}

/** The last first; what somebody else has set meanwhile stays. */
async function putBack(files: Noted['ipv4']['files']): Promise<void> {
  for (const { path, before, value } of files.toReversed())
    if (before === value || (await readSetting(path)) === value) await writeFile(path, before).catch(() => {}) // Gone with its link.
}

async function readSetting(path: string): Promise<string | undefined> {
  return (await readFile(path, 'utf8').catch(() => undefined))?.trim()
}

async function writeSetting(path: string, value: string): Promise<void> {
  if ((await readSetting(path)) === value) return
  try {
    await writeFile(path, value)
  } catch (cause) {
    if (path !== switches.ipv4 && path !== switches.ipv6) return // The link is gone.
    throw new KvasirError(
      'unsupported',
      `${path} cannot be written, so the host does not forward packets; it must be 1 for a network with a way out.`,
      { cause },
    )
  }
}
