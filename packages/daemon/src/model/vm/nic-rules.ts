/** What changes of NICs do. */
import type { ChangeRule, SpecChange } from './change-rules.ts'

/** A network forwards by rules of the host, user mode by a process that knows its ports from its start. */
export function forwardsRule({ from, to }: SpecChange, path: string): ChangeRule {
  const isNic = ({ name }: { readonly name: string }) => path === `nics.${name}.forwards`
  const [before, after] = [from.nics.find(isNic), to.nics.find(isNic)]
  return after?.network !== undefined && before?.network === after.network
    ? { effect: 'live', reason: 'the rules of its network can change' }
    : { effect: 'boot', reason: 'ports are forwarded by a process that starts with the emulator' }
}
