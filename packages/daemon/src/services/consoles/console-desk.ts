/**
 * The desk of the consoles: gives out tickets, takes them, and seats viewers at the hub of their VM.
 *
 * A hub exists only while somebody watches, and a moment longer. What a guest says while nobody watches is in the log on disk, which
 * another process writes.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../ports/clock.ts'
import type { Log } from '../../ports/log.ts'
import { ConsoleHub, type ConsoleSession } from './console-hub.ts'
import { type ConsoleMode, type Grant, type IssuedTicket, Tickets } from './tickets.ts'

/** What the consoles need of the VMs. */
export interface ConsoleSources {
  /** Opens the serial console of a VM's emulator; `wrong-state` when it does not run. */
  readonly openSerial: (vmId: string) => Promise<Duplex>
  /** Opens the display; `wrong-state` when the VM does not run, `unsupported` when it has none. */
  readonly openVnc: (vmId: string) => Promise<Duplex>
  /** Opens a channel of SPICE, as `openVnc`. */
  readonly openSpice: (vmId: string) => Promise<Duplex>
  /** The end of the serial log on disk, raw. */
  readonly readScrollback: (vmId: string, bytes: number) => Promise<Uint8Array>
  readonly clock: Clock
  readonly log: Log
}

/** Who a ticket is for. */
export interface TicketRequest {
  readonly vmId: string
  readonly vmName: string
  readonly mode: ConsoleMode
}

/** Consoles as the handlers and the API use them. */
export interface ConsoleDesk {
  /** A ticket for the serial console; `console-taken` when `write` is wanted and somebody writes. */
  issueSerial(request: TicketRequest): IssuedTicket
  /** A ticket for the display. */
  issueVnc(request: Omit<TicketRequest, 'mode'>): IssuedTicket
  /** A ticket for a channel of SPICE. */
  issueSpice(request: Omit<TicketRequest, 'mode'>): IssuedTicket
  /** Takes a ticket for the serial console and a seat at it; `ticket-invalid`, `console-taken`, `wrong-state`. */
  joinSerial(ticket: string): Promise<ConsoleSession>
  /** Takes a ticket for the display and opens it. */
  joinVnc(ticket: string): Promise<{ readonly vmName: string; readonly display: Duplex }>
  /** Takes a ticket for a channel of SPICE and opens it. */
  joinSpice(ticket: string): Promise<Duplex>
  /** A ticket for a stream of NBD, which is opened when the ticket is taken. */
  issueNbd(request: Omit<TicketRequest, 'mode'> & { readonly open: () => Promise<Duplex> }): IssuedTicket
  /** Takes a ticket for a stream of NBD and opens it. */
  joinNbd(ticket: string): Promise<Duplex>
  /** A ticket for a channel, which is opened when the ticket is taken. */
  issueChannel(request: Omit<TicketRequest, 'mode'> & { readonly open: () => Promise<Duplex> }): IssuedTicket
  /** Takes a ticket for a channel and opens it. */
  joinChannel(ticket: string): Promise<Duplex>
  /** Ends the console of a VM whose emulator has ended. */
  vmEnded(vmId: string, reason: string): void
  /** Ends all. */
  close(): void
}

/** Makes the desk. */
export function createConsoleDesk(sources: ConsoleSources): ConsoleDesk {
  const tickets = new Tickets(sources.clock)
  const hubs = new Map<string, ConsoleHub>()

  function hubOf(grant: Grant): ConsoleHub {
    const present = hubs.get(grant.vmId)
    if (present) return present
    const hub = new ConsoleHub(grant, sources, () => hubs.delete(grant.vmId))
    hubs.set(grant.vmId, hub)
    return hub
  }

  return {
    issueSerial(request) {
      const grant: Grant = { ...request, channel: 'serial' }
      hubs.get(grant.vmId)?.refuseIfTaken(grant.mode)
      return tickets.issue(grant)
    },
    issueVnc: (request) => tickets.issue({ ...request, channel: 'vnc', mode: 'write' }),
    issueSpice: (request) => tickets.issue({ ...request, channel: 'spice', mode: 'write' }),
    async joinSerial(ticket) {
      const grant = tickets.redeem(ticket, 'serial')
      return await hubOf(grant).join(grant.mode)
    },
    async joinVnc(ticket) {
      const { vmId, vmName } = tickets.redeem(ticket, 'vnc')
      return { vmName, display: await sources.openVnc(vmId) }
    },
    joinSpice: async (ticket) => await sources.openSpice(tickets.redeem(ticket, 'spice').vmId),
    issueNbd: (request) => tickets.issue({ ...request, channel: 'nbd', mode: 'read' }),
    joinNbd: async (ticket) => await opened(tickets.redeem(ticket, 'nbd')),
    issueChannel: (request) => tickets.issue({ ...request, channel: 'channel', mode: 'write' }),
    joinChannel: async (ticket) => await opened(tickets.redeem(ticket, 'channel')),
    vmEnded: (vmId, reason) => hubs.get(vmId)?.end(reason),
    close() {
      for (const hub of hubs.values()) hub.end('the daemon is leaving')
    },
  }
}

async function opened({ open, channel }: Grant): Promise<Duplex> {
  if (open === undefined) throw new TypeError(`A ticket for ${channel} opens nothing.`)
  return await open()
}
