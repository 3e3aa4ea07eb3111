import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Network } from '@kvasir/contract'
import { startScriptedDaemon } from '@kvasir/sdk/testing/scripted-daemon'
import { kvasir } from '../testing/run-command-line.ts'

const mac = '52:54:00:12:34:56'
const lan: Network = {
  name: 'lan',
  id: '0b7e9a52-6f0b-4d58-9f61-1f0de8c0a001',
  mode: 'nat',
  state: 'active',
  reason: 'it was started',
  since: '2026-11-21T10:00:00Z',
  autostart: true,
  uplinks: [],
  vlanAware: false,
  mtu: 1500,
  ipv6: { subnet: 'fd12::/64', gateway: 'fd12::1', dhcp: true },
  domain: 'lan.internal',
  reservations: [{ mac, ipv6: 'fd12::9', name: 'db1' }],
  records: [],
  findings: [],
  repairs: [],
  createdAt: '2026-11-21T10:00:00Z',
}

test('what is reserved for a NIC is said with --reserve, and shown', async () => {
  await using daemon = await startScriptedDaemon({
    request: ({ method }) => ({ status: method === 'POST' ? 201 : 200, json: lan }),
  })
  const words = ['network', 'create', 'lan', '--ipv6', 'fd12::/64', '--reserve']

  const made = await kvasir([...words, `mac=${mac},ipv6=fd12::9,name=db1`], daemon)
  const shown = await kvasir(['network', 'show', 'lan'], daemon)
  const wrong = await kvasir([...words, `mac=${mac},ip6=fd12::9`], daemon)

  assert.equal(made.code, 0, made.stderr)
  const [{ body } = { body: undefined }] = daemon.asked
  assert.deepEqual(Reflect.get(Object(body), 'reservations'), lan.reservations)
  assert.match(shown.stdout, new RegExp(`^Reservations +${mac} fd12::9 db1$`, 'm'))
  assert.match(wrong.stderr, /--reserve cannot be/)
})
