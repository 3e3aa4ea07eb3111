/**
 * The programs of the tiny guest: busybox with a link per applet, and QEMU's guest agent with the libraries it names.
 *
 * Not here: the drivers (tiny-modules.ts), the guest's own scripts (tiny-root/).
 */
import { existsSync } from 'node:fs'
import { readdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import type { CpioEntry } from '../../model/images/cpio.ts'
import { readElfNeeds } from '../../model/images/elf.ts'
import { runStep } from './run-step.ts'

const listTimeoutMs = 10_000
/** Applets that would stand in the way: the guest has its own shutdown, and dpkg and rpm have nothing to act on. */
const leftOutApplets = new Set(['busybox', 'dpkg', 'dpkg-deb', 'rpm', 'rpm2cpio', 'linuxrc', 'shutdown'])

/** Gives the entries of busybox and of the guest agent from unpacked packages below `root`. */
export async function programEntries(root: string, signal: AbortSignal): Promise<readonly CpioEntry[]> {
  return [...(await busyboxEntries(root, signal)), ...(await agentEntries(root))]
}

/** Where the busybox of an unpacked package is; it is static, so the host can run it. */
export function busyboxOf(root: string): string {
  return firstExisting(root, ['bin/busybox', 'usr/bin/busybox'])
}

async function busyboxEntries(root: string, signal: AbortSignal): Promise<readonly CpioEntry[]> {
  const busybox = busyboxOf(root)
  const stdout = await runStep([busybox, '--list'], { cwd: root, signal, timeoutMs: listTimeoutMs })
  const applets = stdout.split('\n').filter((name) => name !== '' && !leftOutApplets.has(name))
  return [
    { kind: 'file', path: 'bin/busybox', mode: 0o755, content: await readFile(busybox) },
    ...applets.map((name): CpioEntry => ({ kind: 'symlink', path: `bin/${name}`, target: 'busybox' })),
    ...['init', 'reboot', 'poweroff', 'halt', 'modprobe'].map(
      (name): CpioEntry => ({ kind: 'symlink', path: `sbin/${name}`, target: '../bin/busybox' }),
    ),
  ]
}

async function agentEntries(root: string): Promise<readonly CpioEntry[]> {
  const agent = firstExisting(root, ['usr/sbin/qemu-ga', 'usr/bin/qemu-ga'])
  const content = await readFile(agent)
  const libraries = await libraryFiles(root)
  const entries = new Map<string, CpioEntry>()
  const waiting = [content]
  for (let program = waiting.pop(); program !== undefined; program = waiting.pop()) {
    const needs = readElfNeeds(program)
    const names = [...(needs?.libraries ?? []), ...(needs?.interpreter?.split('/').slice(-1) ?? [])]
    for (const name of names) {
      if (entries.has(name)) continue
      const path = libraries.get(name)
      if (path === undefined) {
        throw new KvasirError(
          'host-failed',
          `${name}, which the guest agent needs, is in no package at hand.`,
        )
      }
      const library = await readFile(path)
      const loader = name.startsWith('ld-linux')
      entries.set(name, {
        kind: 'file',
        path: loader ? `lib64/${name}` : `lib/${name}`,
        mode: 0o755,
        content: library,
      })
      waiting.push(library)
    }
  }
  return [{ kind: 'file', path: 'bin/qemu-ga', mode: 0o755, content }, ...entries.values()]
}

/** Every shared library by the name that programs know it by, links followed. */
async function libraryFiles(root: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  for (const directory of ['lib', 'usr/lib', 'lib64', 'usr/lib64', ...(await multiarchDirectories(root))]) {
    const full = join(root, directory)
    if (!existsSync(full)) continue
    for (const name of await readdir(full)) {
      if (!/\.so(\.|$)/.test(name) || found.has(name)) continue
      const target = await realpath(join(full, name)).catch(() => undefined)
      if (target?.startsWith(`${root}/`)) found.set(name, target)
    }
  }
  return found
}

async function multiarchDirectories(root: string): Promise<readonly string[]> {
  const parents = ['lib', 'usr/lib'].filter((parent) => existsSync(join(root, parent)))
  const nested = parents.map(async (parent) =>
    (await readdir(join(root, parent)))
      .filter((name) => /^[a-z0-9_]+-linux-gnu$/.test(name))
      .map((name) => `${parent}/${name}`),
  )
  return (await Promise.all(nested)).flat()
}

function firstExisting(root: string, paths: readonly string[]): string {
  const found = paths.map((path) => join(root, path)).find((path) => existsSync(path))
  if (found === undefined) {
    throw new KvasirError(
      'host-failed',
      `The packages at hand hold no ${paths.join(' nor ')}, so no image can be built.`,
    )
  }
  return found
}
