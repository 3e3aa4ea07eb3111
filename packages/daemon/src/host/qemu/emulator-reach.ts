/**
 * The servers that an emulator may connect to, disk by disk: a file in its runtime directory that its connector reads for each connection
 * (host/cage/connector.pl). Its first server brings the file and the connector.
 */
import { KvasirError } from '@kvasir/contract'
import type { DiskReach } from '../../model/qemu/emulator-plan.ts'
import { reachLines } from '../../model/storage/reach.ts'
import type { EmulatorConnector } from './emulator-connector.ts'
import { type EmulatorPaths, readWhole, writeWhole } from './runtime-directory.ts'

/** Writes down, before the start, what an emulator may reach. */
export async function writeReach(paths: EmulatorPaths, reach: readonly DiskReach[]): Promise<void> {
  if (reach.length > 0) await writeWhole(paths.reach, reach.flatMap(linesOf).join(''))
}

/** An emulator that can be given servers. */
export interface ReachingEmulator {
  readonly paths: EmulatorPaths
  readonly connector: Pick<EmulatorConnector, 'ensure'>
}

/** Lets a running emulator reach what a disk lies on. `unsupported` for one that nobody can connect for. */
export async function giveReach(
  { paths, connector }: ReachingEmulator,
  reach: DiskReach & { readonly otherwise: string },
): Promise<void> {
  if (reach.servers.length === 0) return
  const why = await connector.ensure()
  if (why !== undefined)
    throw new KvasirError(
      'unsupported',
      `The VM was started without a way to a storage server, and can be given none (${why}); ${reach.otherwise}.`,
    )
  const others = (await linesBut(paths, reach.disk)) ?? []
  await writeWhole(paths.reach, [...others, ...linesOf(reach)].join(''))
}

/** What was reached by one name is reached as a disk's, and nothing that the disk lay on before. Repeated, it changes nothing. */
export async function handReachOver(
  paths: EmulatorPaths,
  { from, to, isFirst }: { readonly from: string; readonly to: string; readonly isFirst: boolean },
): Promise<void> {
  const text = await readWhole(paths.reach)
  if (text === undefined) return
  const all = linesIn(text)
  const handed = all.filter(isOf(from))
  const isHandedAlready = handed.length === 0 && !isFirst
  const stays = all.filter((line) => !isOf(from)(line) && (isHandedAlready || !isOf(to)(line)))
  const given = handed.map((line) => line.slice(0, -` ${from}\n`.length).concat(` ${to}\n`))
  await writeWhole(paths.reach, [...stays, ...given].join(''))
}

/** Takes back what a disk lay on. No error when there was nothing. */
export async function takeReachBack(paths: EmulatorPaths, disk: string): Promise<void> {
  const others = await linesBut(paths, disk)
  if (others !== undefined) await writeWhole(paths.reach, others.join(''))
}

/** A line of a disk ends with its name, which the connector does not read. */
function linesOf({ disk, servers }: DiskReach): readonly string[] {
  return reachLines(servers).map((line) => `${line} ${disk}\n`)
}

async function linesBut(paths: EmulatorPaths, disk: string): Promise<readonly string[] | undefined> {
  const text = await readWhole(paths.reach)
  return text === undefined ? undefined : linesIn(text).filter((line) => !isOf(disk)(line))
}

function linesIn(text: string): readonly string[] {
  return text.split(/(?<=\n)/).filter((line) => line !== '')
}

function isOf(name: string): (line: string) => boolean {
  return (line) => line.endsWith(` ${name}\n`)
}
