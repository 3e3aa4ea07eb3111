/** The processor of a new VM from the flags of `kvasir vm create`. */
import type { VmSpecInput } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { parseAssignment } from './device-words.ts'

type CpuInput = NonNullable<VmSpecInput['cpu']>

const topologyParts = ['sockets', 'dies', 'cores', 'threads'] as const

/** The processor, where any flag says something of it. Throws `UsageError`. */
export function cpuFromFlags(context: Context): Pick<VmSpecInput, 'cpu'> {
  const count = context.number('vcpus')
  const max = context.number('max-vcpus')
  const model = context.value('cpu-model')
  const features = context.values('cpu-flag').map(parseFlag)
  const topology = context.value('topology')
  const nested = context.choice('nested', ['true', 'false', 'auto'])
  const placement = context.choice('placement', ['none', 'pack', 'spread', 'dedicated'])
  const numa = context.choice('numa', ['auto', 'strict', 'off'])
  const cpu: CpuInput = {
    ...(count === undefined ? {} : { count }),
    ...(max === undefined ? {} : { max }),
    ...(model === undefined ? {} : { model }),
    ...(features.length === 0 ? {} : { features: Object.fromEntries(features) }),
    ...(topology === undefined ? {} : { topology: parseTopology(topology) }),
    ...(nested === undefined ? {} : { nested }),
    ...tuningFromFlags(context),
    ...(placement === undefined ? {} : { placement }),
    ...(numa === undefined ? {} : { numa }),
  }
  return Object.keys(cpu).length > 0 ? { cpu } : {}
}

function tuningFromFlags(context: Context): CpuInput {
  const weight = context.number('weight')
  const quotaPercent = context.number('quota')
  const cpus = context.value('host-cpus')
  const scheduler = context.value('scheduler')
  return {
    ...(weight === undefined ? {} : { weight }),
    ...(quotaPercent === undefined ? {} : { quotaPercent }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(scheduler === undefined ? {} : { scheduler: parseScheduler(scheduler) }),
  }
}

/** A scheduling policy: `batch`, or `fifo:10` with its priority. */
export function parseScheduler(text: string): NonNullable<CpuInput['scheduler']> {
  const [policy, priority] = text.split(':')
  if ((policy === 'other' || policy === 'batch' || policy === 'idle') && priority === undefined)
    return { policy }
  if ((policy === 'fifo' || policy === 'rr') && /^(\d{1,2})?$/.test(priority ?? ''))
    return { policy, ...(priority ? { priority: Number(priority) } : {}) }
  throw new UsageError(`${text} is no scheduling policy.`, 'Write other, batch, idle, fifo:10 or rr:10.')
}

/** A flag with its switch: `aes=on`. */
export function parseFlag(text: string): readonly [flag: string, isOn: boolean] {
  const [flag, word] = parseAssignment(text, 'CPU flag')
  if (word === 'on' || word === 'true') return [flag, true]
  if (word === 'off' || word === 'false') return [flag, false]
  throw new UsageError(`${text} switches no CPU flag.`, `Write it so: --cpu-flag ${flag}=on`)
}

/** A topology such as `sockets=2,cores=4,threads=2`; what is left out is one. */
export function parseTopology(text: string): NonNullable<CpuInput['topology']> {
  const parts = text.split(',').map((word) => {
    const [part, number] = parseAssignment(word, 'topology')
    const known = topologyParts.find((name) => name === part)
    if (known === undefined || !/^\d{1,3}$/.test(number)) {
      throw new UsageError(
        `${word} is no part of a topology.`,
        'Write it so: --topology sockets=1,cores=4,threads=2',
      )
    }
    return [known, Number(number)] as const
  })
  return Object.fromEntries(parts)
}
