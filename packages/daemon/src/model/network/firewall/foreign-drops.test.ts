import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork } from '@kvasir/contract'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../../tools/fuzz-runs.ts'
import type { HostFilters } from '../host-filters.ts'
import type { NetworkSpec } from '../network-record.ts'
import { resolveNetwork } from '../resolve-network.ts'
import { foreignDrops } from './foreign-drops.ts'

const id = '00000000-0000-4000-8000-000000000001'
const accept = { accept: null }
const drop = { drop: null }

function network(wanted: object = {}): NetworkSpec {
  const asked = newNetwork.parse({
    name: 'lan',
    bridge: 'br-lan',
    ipv4: { subnet: '10.9.0.0/24' },
    ...wanted,
  })
  return resolveNetwork(asked, { id, taken: [] })
}

/** A chain with its rules, in nft's JSON. */
function chain(
  at: { family: string; table: string; name: string; hook?: string; policy?: string },
  ...rules: readonly (readonly object[])[]
): readonly object[] {
  const { name, ...place } = at
  return [
    { chain: { ...at, ...(at.hook === undefined ? {} : { type: 'filter' }) } },
    ...rules.map((expr, number) => ({ rule: { ...place, chain: name, handle: number + 10, expr } })),
  ]
}

function filters(things: readonly (readonly object[])[], changed: Partial<HostFilters> = {}): HostFilters {
  return {
    ruleset: { nftables: [{ metainfo: {} }, ...things.flat()] },
    text: '',
    legacy: [],
    uplinks: { 4: ['eth0'], 6: [] },
    seesBridged: { 4: false, 6: false },
    ...changed,
  }
}

function drops(things: readonly (readonly object[])[], changed: Partial<HostFilters> = {}, spec = network()) {
  return foreignDrops(spec, { wires: [], filters: filters(things, changed) })
}

function is(left: object, right: unknown, op = '==') {
  return { match: { op, left, right } }
}

const [iifname, oifname] = [{ meta: { key: 'iifname' } }, { meta: { key: 'oifname' } }]
const saddr = { payload: { protocol: 'ip', field: 'saddr' } }
const state = { ct: { key: 'state' } }
const own = { family: 'inet', table: 'own', name: 'fwd', hook: 'forward', policy: 'accept' }
const docker = { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', policy: 'drop' }

test('Docker’s policy is named, with the chain that Docker leaves to others', () => {
  const user = chain({ family: 'ip', table: 'filter', name: 'DOCKER-USER' }, [{ return: null }])
  const forward = chain(
    docker,
    [{ counter: {} }, { jump: { target: 'DOCKER-USER' } }],
    [is(oifname, 'docker0'), is(state, ['established', 'related'], 'in'), accept],
    [is(iifname, 'docker0'), is(oifname, 'docker0', '!='), accept],
  )

  const [found, ...others] = drops([user, forward])

  assert.deepEqual(others, [])
  assert.equal(
    found?.detail,
    'The policy of chain FORWARD of table ip filter (iptables) drops what guests send out and what answers guests.',
  )
  assert.deepEqual(found.fix, [
    'iptables -I DOCKER-USER -i br-lan -j ACCEPT',
    'iptables -I DOCKER-USER -o br-lan -j ACCEPT',
  ])
})

test('what the remedy adds is enough, and nothing is told of a host that lets the packets pass', () => {
  const user = chain(
    { family: 'ip', table: 'filter', name: 'DOCKER-USER' },
    [is(iifname, 'br-lan'), accept],
    [is(oifname, 'br-lan'), accept],
    [{ return: null }],
  )

  assert.deepEqual(drops([user, chain(docker, [{ jump: { target: 'DOCKER-USER' } }])]), [])
  assert.deepEqual(drops([]), [])
  assert.deepEqual(drops([chain({ ...docker, policy: 'accept' })]), [])
})

test('frames between guests count where the host shows them to rules of packets', () => {
  const only = [is(iifname, 'br-lan'), is(oifname, 'br-lan', '!='), accept] as const
  const back = [is(oifname, 'br-lan'), is(iifname, 'br-lan', '!='), accept] as const
  const chains = [chain(docker, only, back)]

  assert.deepEqual(drops(chains), [])
  const [found] = drops(chains, { seesBridged: { 4: true, 6: false } })
  assert.match(found?.detail ?? '', /drops what its guests send each other\.$/)
})

test('Docker drops what passes a bridge of the host too, where the kernel shows it such frames', () => {
  const links = [{ name: 'br0', kind: 'bridge', mac: undefined, mtu: 1500, bridge: undefined }]
  const asked = newNetwork.parse({ name: 'office', mode: 'bridge', bridge: 'br0' })
  const office = resolveNetwork(asked, { id, taken: [], host: { links, addresses: [], routes: [] } })

  assert.deepEqual(drops([chain(docker)], {}, office), [])
  const [found] = drops([chain(docker)], { seesBridged: { 4: true, 6: false } }, office)
  assert.match(found?.detail ?? '', /drops what its guests send each other and others on the bridge\.$/)
  assert.deepEqual(found?.fix, ['iptables -I FORWARD -i br0 -j ACCEPT'])
})

test('a rule is named by the words that nft has for it', () => {
  const text = 'table inet own {\n\tchain fwd { # handle 1\n\t\tip saddr @nets drop # handle 10\n\t}\n}\n'
  const set = [
    { set: { family: 'inet', table: 'own', name: 'nets', elem: [{ prefix: { addr: '10.0.0.0', len: 8 } }] } },
  ]

  const [found] = drops([chain(own, [is(saddr, '@nets'), drop]), set], { text })

  assert.equal(
    found?.detail,
    'Rule 10 (ip saddr @nets drop) in chain fwd of table inet own drops what guests send out.',
  )
  assert.deepEqual(found.fix, ['nft insert rule inet own fwd iifname "br-lan" accept'])
})

test('the zones of firewalld are followed to the rule that rejects', () => {
  const place = { family: 'inet', table: 'firewalld' }
  const zones = {
    set: [
      ['docker0', { goto: { target: 'FWD_docker' } }],
      ['lo', accept],
    ],
  }
  const chains = [
    chain(
      { ...place, name: 'filter_FORWARD', hook: 'forward', policy: 'accept' },
      [is(state, { set: ['established', 'related'] }), accept],
      [is({ ct: { key: 'status' } }, 'dnat', 'in'), accept],
      [{ vmap: { key: iifname, data: zones } }],
      [{ goto: { target: 'FWD_public' } }],
    ),
    chain({ ...place, name: 'FWD_docker' }, [accept]),
    chain(
      { ...place, name: 'FWD_public' },
      [{ log: null }],
      [{ reject: { type: 'icmpx', expr: 'admin-prohibited' } }],
    ),
  ]

  const [found, ...others] = drops(chains)

  assert.deepEqual(others, [])
  assert.match(
    found?.detail ?? '',
    /^Rule 11 in chain FWD_public of table inet firewalld \(firewalld\) drops what guests send out\.$/,
  )
  assert.match(found?.fix?.[0] ?? '', /^firewall-cmd --zone=trusted --change-interface=br-lan$/)
})

test('an input that lets nobody ask is told with the questions that are not answered', () => {
  const input = { ...own, name: 'in', hook: 'input', policy: 'drop' }
  const dport = { payload: { protocol: 'udp', field: 'dport' } }

  assert.match(
    drops([chain(input)])[0]?.detail ?? '',
    /drops questions of guests to its DNS and questions of guests to its DHCP/,
  )
  const [dns] = drops([chain(input, [is(dport, { set: [67, { range: [500, 600] }] }), accept])])
  assert.match(dns?.detail ?? '', /drops questions of guests to its DNS\.$/)
})

test('what is not understood is no alarm', () => {
  const marked = is({ '&': [{ meta: { key: 'mark' } }, 255] }, 1)

  assert.deepEqual(drops([chain(own, [marked, drop])]), [])
  assert.deepEqual(drops([chain(docker, [{ xt: null }, accept])]), [])
  assert.deepEqual(drops([chain(own, [{ limit: { rate: 3 } }, drop])]), [])
})

test('a rule of iptables for connections that are known does not hide what is dropped of new ones', () => {
  const text =
    'table ip filter {\n\tchain FORWARD { # handle 1\n\t\tct state related,established counter accept # handle 10\n\t}\n}\n'

  const [found] = drops([chain(docker, [{ xt: null }, accept])], { text })

  assert.match(found?.detail ?? '', /drops what guests send out\.$/)
})

test('what is dropped before the host routes, after it, and of its own answers is told as well', () => {
  const base = (name: string, hook: string) => ({ family: 'ip', table: 'raw', name, hook, policy: 'drop' })
  const fixes = (things: readonly (readonly object[])[], spec = network()) =>
    drops(things, {}, spec).map(({ fix }) => fix)

  assert.deepEqual(fixes([chain(base('PREROUTING', 'prerouting'))], network({ mode: 'routed' })), [
    [
      'iptables -t raw -I PREROUTING -i br-lan -j ACCEPT',
      'iptables -t raw -I PREROUTING -d 10.9.0.0/24 -j ACCEPT',
    ],
  ])
  assert.deepEqual(fixes([chain(base('mine', 'postrouting'))]), [
    [
      'nft insert rule ip raw mine ip saddr 10.9.0.0/24 accept',
      'nft insert rule ip raw mine oifname "br-lan" accept',
    ],
  ])
  const [answers] = drops([chain({ ...docker, name: 'OUTPUT', hook: 'output' })])
  assert.match(
    answers?.detail ?? '',
    /drops answers of its DNS to guests and answers of its DHCP to guests\.$/,
  )
  assert.deepEqual(answers?.fix, ['iptables -I OUTPUT -o br-lan -j ACCEPT'])
})

test('firewalld is told of a routed network by a zone and a policy of its own, whose names it takes', () => {
  const reject = {
    family: 'inet',
    table: 'firewalld',
    name: 'filter_FORWARD',
    hook: 'forward',
    policy: 'drop',
  }
  const fixOf = (wanted: object) => drops([chain(reject)], {}, network(wanted))[0]?.fix ?? []

  assert.equal(fixOf({}).length, 2)
  const names = fixOf({ mode: 'routed', bridge: 'office.vlan.123' }).flatMap(
    (command) => /--new-(?:zone|policy)=(.*)/.exec(command)?.[1] ?? [],
  )
  assert.deepEqual(names, ['office_vlan_123', 'office_vlan_123-in'])
})

test('no rules of others, however odd, are too much', () => {
  const value = fc.anything({ maxDepth: 3 })
  const word = fc.constantFrom(
    'match',
    'vmap',
    'jump',
    'goto',
    'return',
    'drop',
    'accept',
    'xt',
    'limit',
    'odd',
  )
  const statement = fc.tuple(word, value).map(([key, content]) => ({ [key]: content }))
  const looping = fc.constant({ jump: { target: 'fwd' } })
  const rules = fc.array(fc.array(fc.oneof(statement, looping), { maxLength: 3 }), { maxLength: 4 })

  fc.assert(
    fc.property(rules, (all) => void drops([chain(own, ...all)])),
    { numRuns: fuzzRuns(200) },
  )
})
