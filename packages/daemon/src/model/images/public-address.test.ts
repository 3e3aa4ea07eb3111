import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPublicAddress } from './public-address.ts'

test('addresses of the Internet are public', () => {
  for (const address of ['1.1.1.1', '151.101.2.132', '172.32.0.1', '2a04:4e42::644', '2606:4700::1111']) {
    assert.equal(isPublicAddress(address), true, address)
  }
})

test('addresses of this host, of local networks and of wrapped kinds are not', () => {
  const local = `127.0.0.1 127.9.9.9 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254
    100.64.0.1 224.0.0.1 255.255.255.255 198.18.0.1 :: ::1 ::ffff:127.0.0.1 ::ffff:7f00:1 fe80::1 fe80::1%eth0
    fd00::1 ff02::1 64:ff9b::7f00:1 2002:7f00:1:: 2001:db8::1 2001::1 localhost 0177.0.0.1`.split(/\s+/)
  for (const address of [...local, '', '1.1.1.1 ']) assert.equal(isPublicAddress(address), false, address)
})
