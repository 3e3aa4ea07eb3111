/**
 * From a network that is off to the first guest that has an address of it: `network start` and a client of DHCP that stands ready, beside
 * a bridge made with ip(8), a dnsmasq started by hand and the same client.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { endpoints } from '@kvasir/contract'
import { type Namespace, openNetworkRoom } from '../e2e/machine/network-room.ts'
import { BenchDaemon } from './bench-daemon.ts'
import { describeMachine } from './describe-machine.ts'
import { interleave, timed } from './interleave.ts'
import { tell } from './report.ts'

const rounds = 9
const limit = 2
const [ours, byHand] = ['kvasir', 'ip and dnsmasq by hand'] as const
const lan = { params: { network: 'lan' } }
const bridges = { [ours]: 'br-bench', [byHand]: 'br-hand' } as const

await using room = await openNetworkRoom()
await using daemon = await BenchDaemon.open({ network: room.host.path })
const machine = await describeMachine(daemon.client)
await daemon.client.call(endpoints.createNetwork, {
  body: { name: 'lan', bridge: bridges[ours], ipv4: { subnet: '10.9.0.0/24' } },
})
const guest = await room.addGuest(bridges[ours], { mac: '52:54:00:be:0c:01' })
await daemon.client.call(endpoints.stopNetwork, lan)
const files = await writeConf()

const measured = await interleave({ [ours]: startOurs, [byHand]: startByHand }, { rounds })
await daemon.client.call(endpoints.deleteNetwork, lan)
tell({
  name: 'network-lease',
  machine,
  table: {
    head: ['ms', 'median', 'p90', 'least'],
    rows: [ours, byHand].map((who) => {
      const { median, p90, least } = measured.of(who)
      return [who, median, p90, least]
    }),
  },
  targets: [
    {
      what: 'network start to the first lease, times by hand',
      measured: measured.ratio(ours, byHand),
      limit,
      wanted: 'at most',
    },
  ],
  notes: [`${rounds} rounds in turn; by hand there are no rules, no forwarding and no names`],
  details: measured,
})

async function startOurs(): Promise<number> {
  const ms = await timed(async () => {
    await daemon.client.call(endpoints.startNetwork, lan)
    await leaseOn(bridges[ours], guest)
  })
  await daemon.client.call(endpoints.stopNetwork, lan)
  return ms
}

async function startByHand(): Promise<number> {
  const bridge = bridges[byHand]
  const ip = (words: string) => room.host.run('ip', ...words.split(' '))
  const ms = await timed(async () => {
    await ip(`link add ${bridge} type bridge`)
    await ip(`address add 10.7.0.1/24 dev ${bridge}`)
    await ip(`link set ${bridge} up`)
    await room.host.run('dnsmasq', `--conf-file=${files.conf}`)
    await leaseOn(bridge, guest)
  })
  process.kill(Number(await room.host.run('cat', files.pid)))
  await ip(`link delete ${bridge}`)
  return ms
}

async function leaseOn(bridge: string, client: Namespace): Promise<void> {
  await room.plug('guest0', bridge)
  const said = await room.lease(client, 'bench')
  if (!said.startsWith('lease ')) throw new Error(`The client was given no lease: ${said}`)
}

async function writeConf(): Promise<{ readonly conf: string; readonly pid: string }> {
  const [conf, pid, leases] = ['dnsmasq.conf', 'dnsmasq.pid', 'leases'].map((name) =>
    join(daemon.place.base, name),
  )
  if (conf === undefined || pid === undefined) throw new TypeError('There are three paths.')
  const lines = [
    `interface=${bridges[byHand]}`,
    'bind-dynamic',
    'except-interface=lo',
    'dhcp-range=10.7.0.2,10.7.0.254',
    'dhcp-authoritative',
    'no-ping',
    'no-resolv',
    'no-hosts',
    `dhcp-leasefile=${leases}`,
    `pid-file=${pid}`,
  ]
  await writeFile(conf, `${lines.join('\n')}\n`)
  return { conf, pid }
}
