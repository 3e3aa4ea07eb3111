import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import {
  type CephPlace,
  cephConf,
  cephReach,
  isCephKey,
  isReached,
  monitorOf,
  rbdSourceOf,
} from './ceph-place.ts'
import { reachLines } from './reach.ts'

const place: CephPlace = {
  monitors: ['10.1.2.3', '[fd00::7]:3300'],
  cephPool: 'rbd',
  namespace: 'ns1',
  user: 'kvasir',
  secretId: 's1',
  networks: [],
}

test('a monitor is an address in figures, with a port or without', () => {
  assert.deepEqual(monitorOf('10.1.2.3'), { address: '10.1.2.3', port: 6789 })
  assert.deepEqual(monitorOf('10.1.2.3:3300'), { address: '10.1.2.3', port: 3300 })
  assert.deepEqual(monitorOf('[fd00::7]'), { address: 'fd00::7', port: 6789 })

  const asked = { type: 'rbd', name: 'ceph1', cephPool: 'rbd' }
  for (const monitors of [['mon1'], ['10.1.2'], ['10.1.2.3:0'], ['10.1.2.3:70000'], ['fd00::7'], [''], []])
    assert.equal(newPool.safeParse({ ...asked, monitors }).success, false, JSON.stringify(monitors))
  for (const monitors of place.monitors)
    assert.equal(newPool.safeParse({ ...asked, monitors: [monitors] }).success, true, monitors)
})

test('names that would part the name of an image, or begin an option, are refused', () => {
  const asked = { type: 'rbd', name: 'ceph1', monitors: ['10.1.2.3'], cephPool: 'rbd' }
  for (const name of ['a/b', 'a@b', '-a', '', 'a b', 'a\nb', 'a;b'])
    for (const field of ['cephPool', 'namespace', 'user'])
      assert.equal(newPool.safeParse({ ...asked, [field]: name }).success, false, `${field} ${name}`)
})

test('QEMU is told of an image by the name of a secret, never by the key', () => {
  const { options, secret } = rbdSourceOf(place, 'volume')

  assert.deepEqual(options, {
    pool: 'rbd',
    namespace: 'ns1',
    image: 'volume',
    user: 'kvasir',
    server: [
      { host: '10.1.2.3', port: '6789' },
      { host: 'fd00::7', port: '3300' },
    ],
    'auth-client-required': ['cephx'],
  })
  assert.deepEqual(secret, { option: 'key-secret', secretId: 's1', format: 'base64' })
})

test('a VM may connect to the monitors and to the OSDs of their networks', () => {
  assert.deepEqual(reachLines(cephReach(place)), [
    '10.1.2.3 32 6789 6789 0',
    '10.1.2.3 32 3300 3300 0',
    'fd00::7 128 3300 3300 0',
    'fd00::7 128 6789 6789 0',
    '10.1.2.3 24 6800 7568 0',
    'fd00::7 64 6800 7568 0',
  ])
  assert.equal(isReached({ address: '10.1.2.99', port: 6801 }, place), true)
  assert.equal(isReached({ address: 'fd00::1:2', port: 6801 }, place), true)
  assert.equal(isReached({ address: '10.1.3.1', port: 6801 }, place), false)
  assert.equal(isReached({ address: '10.1.2.99', port: 22 }, place), false)
  assert.equal(isReached({ address: '10.1.3.1', port: 6801 }, { ...place, networks: ['10.1.0.0/16'] }), true)
})

test('the tools are told the monitors and where the key is, and give up by themselves', () => {
  const text = cephConf(place, { keyring: '/run/k' }, 5)

  assert.match(text, /^mon_host = 10\.1\.2\.3:6789,\[fd00::7\]:3300$/m)
  assert.match(text, /^keyring = \/run\/k$/m)
  assert.match(text, /^rados_osd_op_timeout = 5$/m)
})

test('a key is what Ceph shows as one', () => {
  assert.equal(isCephKey('AgAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAA=='), false)
  assert.equal(isCephKey(Buffer.concat([Buffer.from([1, 0]), Buffer.alloc(26, 7)]).toString('base64')), true)
  for (const text of ['', 'hunter2', '[client.kvasir]\nkey = AQ', 'AQ=='])
    assert.equal(isCephKey(text), false, text)
})
