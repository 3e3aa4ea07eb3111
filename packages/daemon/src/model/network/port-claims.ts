/** Who has which port of the host: forwards of VMs that run, by a network or by passt, and programs that listen. */
import { type ForwardSpec, KvasirError } from '@kvasir/contract'
import { nicsInUse, type WiredVm } from './wires.ts'

/** A socket of the host that waits for callers. */
export interface HostListener {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  /** Which program has it, where that can be seen. */
  readonly program: string | undefined
}

interface Claim {
  readonly holder: string
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
}

/** `bad-request` for a VM that forwards one port twice. */
export function requireOwnPorts(vm: Pick<WiredVm, 'name' | 'spec'>): void {
  const claims: Claim[] = []
  for (const nic of vm.spec.nics)
    for (const forward of nic.forwards) {
      const claim = claimOf(forward, `NIC ${nic.name}`)
      const twin = claims.find((other) => clash(claim, other))
      if (twin)
        throw new KvasirError(
          'bad-request',
          `VM ${vm.name} forwards port ${claim.port} of ${claim.protocol} twice, by ${twin.holder} and ${claim.holder}, and one of them would never be reached.`,
          { details: { port: claim.port } },
        )
      claims.push(claim)
    }
}

/** `in-use` when another VM that runs, or starts, has a port that a VM is to have. */
export function requireUnclaimedPorts(
  vm: Pick<WiredVm, 'id' | 'name' | 'spec'>,
  others: readonly WiredVm[],
): void {
  if (vm.spec.nics.every(({ forwards }) => forwards.length === 0)) return
  const claims = others
    .filter(({ id }) => id !== vm.id)
    .flatMap((other) =>
      nicsInUse(other).flatMap((nic) =>
        nic.forwards.map((forward) => claimOf(forward, `NIC ${nic.name} of VM ${other.name}`)),
      ),
    )
  requireFree(vm, vm.spec.nics, claims)
}

/** `in-use` when a program listens where a network is to forward. passt finds out by itself. */
export function requireUnheardPorts(
  vm: Pick<WiredVm, 'name' | 'spec'>,
  listeners: readonly HostListener[],
): void {
  const nics = vm.spec.nics.filter(({ network }) => network !== undefined)
  const claims = listeners.map((listener) => ({ ...listener, holder: holderOf(listener) }))
  requireFree(vm, nics, claims)
}

/**
 * Who listens at a port that somebody else was to have, as the beginning of a sentence; undefined where nobody is seen there. Without a
 * protocol, whoever has it of either.
 */
export function listenerWords(
  wanted: Omit<Claim, 'holder' | 'protocol'> & { readonly protocol?: Claim['protocol'] },
  listeners: readonly HostListener[],
): string | undefined {
  const found = listeners.find((one) => clash(one, { protocol: one.protocol, ...wanted }))
  return found && `${holderOf(found)} has port ${found.port} of ${found.protocol} at ${found.address} already`
}

function holderOf({ program }: HostListener): string {
  return program === undefined ? 'A program of the host' : `The program ${program}`
}

function requireFree(
  { name }: { readonly name: string },
  nics: WiredVm['spec']['nics'],
  claims: readonly Claim[],
): void {
  for (const nic of nics)
    for (const forward of nic.forwards) {
      const { address, port, protocol } = claimOf(forward, '')
      const holder = claims.find((claim) => clash(claim, { address, port, protocol }))?.holder
      if (holder === undefined) continue
      throw new KvasirError(
        'in-use',
        `${holder} has port ${port} of ${protocol} on the host already, so NIC ${nic.name} of VM ${name} cannot have it at ${address}.`,
        { details: { nic: nic.name, port, protocol, holder } },
      )
    }
}

function claimOf({ protocol, hostAddress, hostPort }: ForwardSpec, holder: string): Claim {
  return { holder, protocol, address: hostAddress, port: hostPort }
}

function clash(a: Omit<Claim, 'holder'>, b: Omit<Claim, 'holder'>): boolean {
  return a.protocol === b.protocol && a.port === b.port && meet(a.address, b.address)
}

/** `::` is every address of both families, as the kernel has it unless told otherwise (ipv6(7), bindv6only). */
function meet(a: string, b: string): boolean {
  if (a === b || a === '::' || b === '::') return true
  const [is6a, is6b] = [a.includes(':'), b.includes(':')]
  return !is6a && !is6b && (a === '0.0.0.0' || b === '0.0.0.0')
}
