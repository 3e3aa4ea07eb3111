/** A macvtap with the host's own vhost, under KVM. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { eventually } from '../../e2e/machine/eventually.ts'
import { openNetworkRoom, outside } from '../../e2e/machine/network-room.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'

test('the kernel moves the packets of a guest on a macvtap', {
  skip: needs('lab', 'root', 'qemu'),
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  await world.client.call(endpoints.createNetwork, { body: { name: 'lan', mode: 'macvtap', link: 'uplink' } })

  const web1 = await world.bootTiny('web1', { cpu: { count: 2 }, nics: [{ name: 'net0', network: 'lan' }] })
  await web1.shell('ip address add 198.51.100.50/24 dev eth0 && ip link set eth0 up')

  const reaches = async () =>
    (await web1.run(`ping -c 1 -W 3 ${outside.world}`)).exitCode === 0 ? true : undefined
  await eventually(reaches, { withinMs: 60_000, what: 'the guest reaches the world' })
  const { status } = await web1.show()
  assert.deepEqual(
    status.nics?.map(({ vhost, queues, link }) => [vhost, queues, link]),
    [[true, 2, 'uplink']],
  )
  const workers = status.vhostThreads ?? []
  assert.ok(workers.length >= 2, `${workers.length} threads of vhost`)
  for (const { threadId } of workers)
    assert.match(readFileSync(`/proc/${status.pid}/task/${threadId}/comm`, 'utf8'), /^vhost-/)
  await world.assertCleanAudit()
})
