/**
 * Copies what Kvasir reads of a machine into a directory: `node tools/capture-host.ts OUT`. `kvasir host topology --root OUT` and
 * `kvasir host show --root OUT` then show that machine anywhere.
 *
 * Invariant: it writes what the readers have read and nothing else, so a capture is small and never lacks anything. No serial
 * numbers, UUIDs, MAC addresses or host names are among it, and of the kernel's command line only options that matter to VMs.
 */
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readHost } from '@kvasir/linux/host-reading'
import { DirectoryTree, type Reading } from '@kvasir/linux/host-tree'
import { keepKernelOptions } from '@kvasir/linux/kernel-options'
import { readTopology } from '@kvasir/linux/topology'

/** Captures the machine at `from` (this one) into `out`, which must be empty or not exist; gives the number of files. */
export async function captureHost(out: string, from = '/'): Promise<number> {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new Error(`${out} is not empty, so nothing is captured into it.`)
  const readings: Reading[] = []
  const tree = new DirectoryTree(from, { record: (reading) => readings.push(reading) })
  await readTopology(tree)
  const host = readHost(tree)
  if (host === undefined) throw new Error(`${from} shows no CPU, so there is no host to capture.`)
  // Which of the files exist that firmware descriptors name.
  for (const { text } of host.firmwareDescriptors)
    for (const [, path = ''] of text.matchAll(/"filename"\s*:\s*"(\/[^"]+)"/g)) host.hasFile(path)
  const options = keepKernelOptions(tree)
  const files = new Map(readings.map((reading) => [reading.path, reading]))
  mkdirSync(out, { recursive: true })
  for (const reading of files.values()) write(out, reading, options)
  // What was only listed becomes an empty directory of its name.
  for (const reading of readings) {
    if (reading.kind !== 'directory') continue
    for (const name of reading.names)
      if (!files.has(join(reading.path, name))) mkdirSync(join(out, reading.path, name), { recursive: true })
  }
  return readings.filter(({ kind }) => kind === 'file').length
}

function write(out: string, reading: Reading, options: string): void {
  const target = join(out, reading.path)
  mkdirSync(dirname(target), { recursive: true })
  switch (reading.kind) {
    case 'file':
      writeFileSync(target, `${withoutSecrets(reading.path, { text: reading.text, options })}\n`)
      return
    case 'link':
      symlinkSync(reading.target, target)
      return
    case 'directory':
      mkdirSync(target, { recursive: true })
  }
}

function withoutSecrets(
  path: string,
  { text, options }: { readonly text: string; readonly options: string },
): string {
  if (path === '/proc/cmdline') return options
  // Boards with ARM processors print their serial number here.
  return path === '/proc/cpuinfo' ? text.replace(/^Serial[ \t]*:.*$/gm, '') : text
}

if (import.meta.main) {
  const [out, ...rest] = process.argv.slice(2)
  if (out === undefined || out.startsWith('-') || rest.length > 0) {
    console.error('Usage: node tools/capture-host.ts OUT')
    process.exitCode = 2
  } else {
    try {
      console.error(`${out} holds ${await captureHost(out)} files of this machine`)
    } catch (error) {
      console.error(error instanceof Error ? error.message : String(error))
      process.exitCode = 1
    }
  }
}
