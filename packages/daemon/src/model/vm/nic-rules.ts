/** What changes of NICs do. */
import type { ChangeRule, SpecChange } from './change-rules.ts'

const byRules = { effect: 'live', reason: 'the rules of its network can change' } as const

/** A network forwards by rules of the host, user mode by a process that knows its ports from its start. */
export function forwardsRule(change: SpecChange, path: string): ChangeRule {
  return staysOnNetwork(change, path)
    ? byRules
    : { effect: 'boot', reason: 'ports are forwarded by a process that starts with the emulator' }
}

/** What a network allows a NIC. */
export function guardRule(change: SpecChange, path: string): ChangeRule {
  return staysOnNetwork(change, path)
    ? byRules
    : { effect: 'boot', reason: 'a NIC comes to its network when the emulator starts' }
}

function staysOnNetwork({ from, to }: SpecChange, path: string): boolean {
  const isNic = ({ name }: { readonly name: string }) =>
    path.startsWith(`nics.${name}.`) && !path.slice(`nics.${name}.`.length).includes('.')
  const [before, after] = [from.nics.find(isNic), to.nics.find(isNic)]
  return after?.network !== undefined && before?.network === after.network
}
