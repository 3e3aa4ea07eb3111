import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { SimulatedClock } from '../../simulated/simulated-clock.ts'
import { type Grant, maxTickets, Tickets, ticketLifeMs } from './tickets.ts'

const grant: Grant = { vmId: 'a', vmName: 'web1', channel: 'serial', mode: 'write' }

function refused(code: ErrorCode) {
  return (error: unknown) => error instanceof KvasirError && error.code === code
}

test('a ticket is good once', () => {
  const tickets = new Tickets(new SimulatedClock())
  const { ticket } = tickets.issue(grant)

  assert.deepEqual(tickets.redeem(ticket, 'serial'), grant)
  assert.throws(() => tickets.redeem(ticket, 'serial'), refused('ticket-invalid'))
})

test('a ticket ends by itself', async () => {
  const clock = new SimulatedClock()
  const tickets = new Tickets(clock)
  const first = tickets.issue(grant)
  const second = tickets.issue(grant)
  assert.equal(first.expiresAt, '2026-01-01T00:00:30.000Z')

  await clock.advance(ticketLifeMs - 1)
  assert.deepEqual(tickets.redeem(first.ticket, 'serial'), grant)
  await clock.advance(1)

  assert.throws(() => tickets.redeem(second.ticket, 'serial'), refused('ticket-invalid'))
})

test('a ticket for one channel opens no other, and is spent by the attempt', () => {
  const tickets = new Tickets(new SimulatedClock())
  const { ticket } = tickets.issue(grant)

  assert.throws(() => tickets.redeem(ticket, 'vnc'), refused('ticket-invalid'))
  assert.throws(() => tickets.redeem(ticket, 'serial'), refused('ticket-invalid'))
})

test('no ticket is kept in a form that could be used', () => {
  const tickets = new Tickets(new SimulatedClock())
  const { ticket } = tickets.issue(grant)

  assert.equal(Buffer.from(ticket, 'base64url').length, 32)
  assert.ok(!inspect(tickets, { depth: 10, showHidden: true }).includes(ticket))
})

test('tickets that nobody takes are bounded, and make room when they end', async () => {
  const clock = new SimulatedClock()
  const tickets = new Tickets(clock)
  for (let count = 0; count < maxTickets; count++) tickets.issue(grant)

  assert.throws(() => tickets.issue(grant), refused('too-many-requests'))
  await clock.advance(ticketLifeMs)

  tickets.issue(grant)
})
