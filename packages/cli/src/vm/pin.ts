/** `kvasir vm pin NAME THREAD CPUS`, and `kvasir vm pin NAME`: the threads as they are. */
import { ioThreadsOf, type VmSpec, type VmSpecInput } from '@kvasir/contract'
import { parseCpuList } from '@kvasir/contract/cpu-list'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { changeSpec } from './change-spec.ts'
import { type ThreadRow, threadRows } from './threads.ts'

/** The word that takes a pin back. */
const anywhere = 'any'

export const pinThread: Action = async (context) => {
  const thread = context.optional('THREAD')
  if (thread === undefined) return await showThreads(context)
  const cpus = context.optional('CPUS')
  if (cpus === undefined)
    throw new UsageError(
      'CPUS is missing.',
      `Write kvasir vm pin NAME ${thread} 0-3, or any to take a pin back.`,
    )
  if (cpus !== anywhere && parseCpuList(cpus) === undefined)
    throw new UsageError(
      `${JSON.stringify(cpus)} is no list of CPUs.`,
      'Write numbers and ranges, ^ takes away: 0-3,8,^2; any takes a pin back.',
    )
  await changeSpec(context, (spec) => withPin(spec, thread, cpus === anywhere ? undefined : cpus))
  return undefined
}

async function showThreads(context: Context): Promise<undefined> {
  const { client, output, signal } = context
  const params = { name: context.argument('NAME') }
  await client.call(routes.getVm, { params, signal })
  // The daemon measures a VM because somebody looks at it; by now it has.
  const vm = await client.call(routes.getVm, { params, signal })
  const seconds = (of: number | undefined) => of?.toFixed(2)
  await output.rows<ThreadRow>(
    threadRows(vm),
    [
      { title: 'THREAD', show: ({ thread }) => thread },
      { title: 'KIND', show: ({ kind }) => kind },
      { title: 'PIN', show: ({ pin }) => pin },
      { title: 'RUNS ON', show: ({ use }) => use?.cpus },
      { title: 'LAST', show: ({ use }) => use?.lastCpu, right: true },
      { title: 'POLICY', show: ({ use }) => use?.policy },
      { title: 'CPU S', show: ({ use }) => seconds(use?.cpuSeconds), right: true },
      { title: 'WAIT S', show: ({ use }) => seconds(use?.waitSeconds), right: true },
      { title: 'TID', show: ({ use }) => use?.threadId, right: true },
    ],
    '',
  )
  return undefined
}

/** A spec with one pin set or taken back. Throws `UsageError` for a thread that no VM could have. */
export function withPin(spec: VmSpec, thread: string, cpus: string | undefined): VmSpecInput {
  const { pin, ...cpu } = spec.cpu
  const [vcpus, ioThreads] = [pin?.vcpus ?? {}, pin?.ioThreads ?? {}]
  const before = { vcpus, emulator: pin?.emulator, vhost: pin?.vhost, ioThreads }
  const after = { ...before, ...changed() }
  const { emulator, vhost, ...named } = after
  const isEmpty =
    (emulator ?? vhost) === undefined &&
    Object.keys(named.vcpus).length + Object.keys(named.ioThreads).length === 0
  const kept = {
    ...named,
    ...(emulator === undefined ? {} : { emulator }),
    ...(vhost === undefined ? {} : { vhost }),
  }
  return { ...spec, cpu: isEmpty ? cpu : { ...cpu, pin: kept } }

  function changed(): Partial<typeof before> {
    if (/^\d+$/.test(thread)) return { vcpus: withEntry(before.vcpus, String(Number(thread)), cpus) }
    if (thread === 'emulator') return { emulator: cpus }
    if (thread === 'vhost') return { vhost: cpus }
    const threads = ioThreadsOf(spec.disks)
    if (threads.includes(thread) || spec.disks.some((disk) => disk.name === thread))
      return { ioThreads: withEntry(before.ioThreads, thread, cpus) }
    throw new UsageError(
      `${thread} is no thread of this VM.`,
      `Threads: ${['the number of a vCPU', 'emulator', 'vhost', ...threads].join(', ')}.`,
    )
  }
}

function withEntry(
  entries: Readonly<Record<string, string>>,
  key: string,
  value: string | undefined,
): Record<string, string> {
  const { [key]: _, ...others } = entries
  return value === undefined ? others : { ...others, [key]: value }
}
