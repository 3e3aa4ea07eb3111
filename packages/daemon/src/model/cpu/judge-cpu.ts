/**
 * Whether this host can give a guest the CPU that its spec asks for, all of it: who asks for a flag that is lacking is refused, and told
 * its name. A VM that was given its CPU before this was judged, or by a host that has since lost a flag, starts all the same.
 *
 * What the host's own CPU is (`auto`, `host`, `max`) it has, so without flags there is nothing to judge.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { baselineNames, baselineOf } from './baselines.ts'
import { decideModel } from './cpu-model.ts'
import { type CpuOffer, canonicalFlag, isKnownFlag, isLacking } from './cpu-offer.ts'
import { nearNames } from './near-names.ts'

/** Models that are whatever the host has. */
const ownModels: ReadonlySet<string> = new Set(['auto', 'host', 'max'])

/** Whether a CPU is the host's own as it is: then nothing needs to be asked of QEMU. */
export function isPlainCpu({ model, features, nested }: VmSpec['cpu']): boolean {
  return ownModels.has(model) && Object.keys(features).length === 0 && nested !== true
}

/** Refuses, with `unsupported` or `bad-request`, a CPU that a guest would not get whole. */
export function requireOffered(name: string, cpu: VmSpec['cpu'], offer: CpuOffer): void {
  const lacking = requireStartable(name, cpu, offer)
  if (lacking.length > 0) throw notWhole(name, cpu, { offer, lacking })
}

/**
 * Refuses a CPU with which QEMU would not start. Answers the flags that a guest would go without: QEMU leaves them out of its models
 * with no more than a warning, and VMs that have run so before go on to.
 */
export function requireStartable(name: string, cpu: VmSpec['cpu'], offer: CpuOffer): readonly string[] {
  requireKnownFlags(name, cpu, offer)
  requireKnownModel(name, cpu, offer)
  if (cpu.nested === true) requireNesting(name, offer)
  const lacking = lackingFlags(name, cpu, offer)
  if (lacking.length > 0 && baselineOf(cpu.model) !== undefined) throw notWhole(name, cpu, { offer, lacking })
  return lacking
}

function notWhole(
  name: string,
  cpu: VmSpec['cpu'],
  { offer, lacking }: { readonly offer: CpuOffer; readonly lacking: readonly string[] },
): KvasirError {
  const under = offer.accelerator === 'kvm' ? 'KVM' : 'TCG'
  const plural = lacking.length === 1 ? '' : 's'
  return new KvasirError(
    'unsupported',
    `This host cannot give VM ${name} the CPU ${cpu.model} under ${under}: it lacks the flag${plural} ${lacking.join(', ')}, so the VM cannot run here. ${remedy(cpu)}`,
    { details: { field: 'cpu.model', model: cpu.model, accelerator: offer.accelerator, lacking } },
  )
}

function remedy({ model }: VmSpec['cpu']): string {
  return ownModels.has(model)
    ? 'Take these flags out of cpu.features.'
    : 'Choose a lower model, or switch these flags off in cpu.features.'
}

function requireKnownFlags(name: string, { features }: VmSpec['cpu'], offer: CpuOffer): void {
  const unknown = Object.keys(features).find((flag) => !isKnownFlag(flag, offer))
  if (unknown === undefined) return
  const near = nearNames(
    unknown,
    Object.keys(offer.flags).filter((flag) => isKnownFlag(flag, offer)),
  )
  throw new KvasirError(
    'bad-request',
    `QEMU knows no CPU flag ${unknown}, so VM ${name} cannot have it.${didYouMean(near)}`,
    { details: { field: `cpu.features.${unknown}`, near } },
  )
}

function requireKnownModel(name: string, { model }: VmSpec['cpu'], offer: CpuOffer): void {
  if (ownModels.has(model) || baselineOf(model) !== undefined || Object.hasOwn(offer.models, model)) return
  const near = nearNames(model, [...Object.keys(offer.models), ...baselineNames])
  throw new KvasirError(
    'unsupported',
    `The QEMU of this host has no CPU model ${model}, so VM ${name} cannot run here.${didYouMean(near)}`,
    { details: { field: 'cpu.model', near } },
  )
}

function didYouMean(near: readonly string[]): string {
  return near.length === 0 ? '' : ` Did you mean ${near.join(' or ')}?`
}

function requireNesting(name: string, offer: CpuOffer): void {
  if (offer.flags[offer.extension] === true) return
  const { nested } = offer
  const why =
    nested?.isOn === false
      ? `the parameter nested of ${nested.module} is off on this host; stop all VMs and run: modprobe -r ${nested.module} && modprobe ${nested.module} nested=1`
      : `KVM offers guests no ${offer.extension} here`
  throw new KvasirError(
    'unsupported',
    `VM ${name} asks for nested virtualization (cpu.nested), but ${why}.`,
    { details: { field: 'cpu.nested' } },
  )
}

/** What of the model and of the flags that are on the host lacks; flags that are switched off are not asked for. */
function lackingFlags(name: string, cpu: VmSpec['cpu'], offer: CpuOffer): readonly string[] {
  const { accelerator, extension } = offer
  const { model, flags } = decideModel({ name, cpu, accelerator, extension })
  const off = new Set(Object.entries(flags).flatMap(([flag, isOn]) => (isOn ? [] : [canonicalFlag(flag)])))
  const ofModel = ownModels.has(cpu.model) ? [] : (offer.models[model] ?? [])
  const asked = Object.keys(flags).filter((flag) => flags[flag] === true && isLacking(flag, offer))
  const all = [...ofModel.filter((flag) => !off.has(canonicalFlag(flag))), ...asked]
  return [...new Map(all.map((flag) => [canonicalFlag(flag), flag])).values()].sort()
}
