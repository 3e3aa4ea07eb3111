/** `kvasir vm top`: what the VMs use, drawn again every two seconds; one table where there is no terminal. */
import type { Vm } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { type Column, formatTable } from '../output/table.ts'
import { cutTo } from '../output/width.ts'
import { cpuSeconds, vcpusOf } from './describe-cpu.ts'

const intervalMs = 2_000
const enterScreen = '\x1b[?1049h\x1b[?25l'
const leaveScreen = '\x1b[?25h\x1b[?1049l'

/** A moment's reading: when, and the CPU seconds of each VM by UUID. */
export interface Reading {
  readonly atMs: number
  readonly vms: readonly Vm[]
}

export const showTop: Action = async (context) => {
  if (!process.stdout.isTTY || !process.stdin.isTTY || context.output.format !== 'table')
    return await printOnce(context)
  const quit = new AbortController()
  const signal = AbortSignal.any([context.signal, quit.signal])
  const onKey = (key: Buffer): void => {
    if (key.includes('q') || key.includes(3)) quit.abort()
  }
  process.stdout.write(enterScreen)
  process.stdin.setRawMode(true).resume().on('data', onKey)
  try {
    await redraw(context, signal)
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    process.stdin.off('data', onKey).setRawMode(false).pause()
    process.stdout.write(leaveScreen)
  }
  return undefined
}

async function redraw(context: Context, signal: AbortSignal): Promise<void> {
  let last: Reading | undefined
  while (!signal.aborted) {
    const reading = await read(context, signal)
    const lines = topText(reading, last, (text) => context.output.bold(text)).split('\n')
    const shown = lines.slice(0, Math.max(1, (process.stdout.rows || 24) - 1))
    process.stdout.write(`\x1b[H${shown.map((line) => `${line}\x1b[K\r\n`).join('')}\x1b[J`)
    last = reading
    await pauseUntil(intervalMs, signal)
  }
}

async function printOnce(context: Context): Promise<undefined> {
  const reading = await read(context, context.signal)
  await context.output.result(reading.vms, () =>
    topText(reading, undefined, (text) => context.output.bold(text)),
  )
  return undefined
}

async function read(context: Context, signal: AbortSignal): Promise<Reading> {
  return { vms: await context.client.call(routes.listVms, { signal }), atMs: performance.now() }
}

/** The table of a reading; CPU use is the difference to the one before. */
export function topText(now: Reading, before: Reading | undefined, bold: (text: string) => string): string {
  const earlier = new Map(before?.vms.map((vm) => [vm.uuid, cpuSeconds(vm)]))
  const seconds = before === undefined ? undefined : (now.atMs - before.atMs) / 1000
  const percent = (vm: Vm): string | undefined => {
    const used = cpuSeconds(vm)
    const then = earlier.get(vm.uuid)
    if (used === undefined || then === undefined || !seconds) return undefined
    // The daemon measures at its own times, so a difference can be that of a little more than the interval.
    const share = Math.min(vcpusOf(vm), Math.max(0, (used - then) / seconds))
    return `${(share * 100).toFixed(0)} %`
  }
  const columns: readonly Column<Vm>[] = [
    { title: 'NAME', show: (vm) => cutTo(vm.name, 32) },
    { title: 'STATE', show: (vm) => vm.status.state },
    { title: 'CPU', show: percent, right: true },
    { title: 'VCPUS', show: vcpusOf, right: true },
    { title: 'RESIDENT', show: (vm) => size(vm.status.residentBytes), right: true },
    { title: 'BALLOON', show: (vm) => size(vm.status.balloonBytes), right: true },
    { title: 'MEMORY', show: (vm) => size(vm.spec.memory.size), right: true },
    { title: 'CPU TIME', show: (vm) => cpuSeconds(vm)?.toFixed(1), right: true },
  ]
  const rows = now.vms.toSorted((a, b) => (cpuSeconds(b) ?? -1) - (cpuSeconds(a) ?? -1))
  const running = now.vms.filter((vm) => vm.status.state === 'running').length
  return `${now.vms.length} VM${now.vms.length === 1 ? '' : 's'}, ${running} running\n\n${formatTable(rows, columns, { bold })}`
}

function size(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : formatBytes(bytes)
}

function pauseUntil(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  signal.addEventListener('abort', () => resolve(), { once: true })
  return promise.finally(() => clearTimeout(timer))
}
