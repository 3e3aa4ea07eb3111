/** DNS records of a network: what dnsmasq is told, and what would keep it from starting. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DnsRecord, dnsRecord, KvasirError } from '@kvasir/contract'
import { recordLines, requireRecords } from './dns-records.ts'

const domain = 'lan.internal'

function recordOf(text: string): DnsRecord {
  const [name, type, ...rest] = text.split(' ')
  return dnsRecord.parse({ name, type, value: rest.join(' ') })
}

function refusal(records: readonly string[], reserved: readonly string[] = []): string {
  const reservations = reserved.map((name) => ({ mac: '52:54:00:00:00:01', name }))
  try {
    requireRecords({ name: 'lan', domain, reservations, records: records.map(recordOf) })
  } catch (error) {
    assert.ok(error instanceof KvasirError)
    return error.message
  }
  return 'none'
}

test('a name is in the domain of its network, unless it ends with a dot', () => {
  const records = [
    'db A 10.9.0.7',
    'Registry.example.com. AAAA fd00::7',
    'www CNAME web1',
    'note TXT say "a, b" \\\\',
    '_ldap._tcp SRV 0 5 389 db',
    '_sip._udp SRV 1 2 5060 sip.example.com.',
  ]

  assert.deepEqual(recordLines(records.map(recordOf), domain), [
    'host-record=db.lan.internal,10.9.0.7',
    'host-record=registry.example.com,fd00::7',
    'cname=www.lan.internal,web1.lan.internal',
    'txt-record=note.lan.internal,"say \\"a, b\\" \\\\\\\\"',
    'srv-host=_ldap._tcp.lan.internal,db.lan.internal,389,0,5',
    'srv-host=_sip._udp.lan.internal,sip.example.com,5060,1,2',
  ])
})

test('a name has several addresses; what is twice there, or an alias beside something else, is refused', () => {
  assert.equal(refusal(['db A 10.9.0.7', 'db A 10.9.0.8', 'db TXT x', 'www CNAME db']), 'none')
  assert.match(
    refusal(['db A 10.9.0.7', 'DB A 10.9.0.7']),
    /has the record db\.lan\.internal A 10\.9\.0\.7 twice/,
  )
  assert.match(refusal(['db A 10.9.0.7', 'db.lan.internal. CNAME web1']), /db\.lan\.internal has a CNAME/)
  assert.match(refusal(['db CNAME web1', 'db TXT x']), /db\.lan\.internal has a CNAME/)
  assert.match(refusal(['db CNAME web1'], ['db']), /db\.lan\.internal has a CNAME/)
})

test('aliases that lead back to themselves are refused', () => {
  assert.match(refusal(['a CNAME a']), /leads back to itself/)
  assert.match(refusal(['a CNAME b', 'b CNAME c', 'c CNAME a']), /leads back to itself/)
  assert.equal(refusal(['a CNAME b', 'b CNAME c']), 'none')
})

test('what is no record is refused', () => {
  for (const text of [
    'db A fd00::7',
    'db AAAA 10.9.0.7',
    'a,b A 10.9.0.7',
    'x SRV 1 2 db',
    'x SRV 0 0 70000 db',
    'x TXT a\nb',
  ])
    assert.throws(() => recordOf(text), text)
})
