import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KvasirError } from '@kvasir/contract'
import type { UserNicPlan } from './emulator-plan.ts'
import { bindsLowPort, chooseUserServer, slirpArgs, withUserServer } from './slirp.ts'

const otherwise = 'the VM was not started'
const forward = { protocol: 'tcp', hostAddress: '0.0.0.0', hostPort: 2222, guestPort: 22 } as const

function nicWith(...forwards: UserNicPlan['forwards']): UserNicPlan {
  return { nic: 'net0', mac: '52:54:00:00:00:01', forwards }
}

test('passt serves where it is there, slirp where it is not', () => {
  assert.deepEqual(chooseUserServer({ passt: '/usr/bin/passt' }), {
    kind: 'passt',
    reason: '/usr/bin/passt is there',
  })
  assert.deepEqual(chooseUserServer({ passt: undefined }), {
    kind: 'slirp',
    reason: 'passt is not installed',
  })
})

test('of the NICs of an emulator, those in user mode say who serves them', () => {
  const server = chooseUserServer({ passt: undefined })
  const [net0, lan] = [
    { device: 'nic-net0', netdev: 'net-net0' },
    { device: 'nic-lan', netdev: 'net-lan' },
  ]
  const ids = { ioThreads: [], disks: {}, nics: { net0, lan }, vncSocketName: undefined }

  const { nics } = withUserServer(ids, { userNics: [nicWith()], server })

  assert.deepEqual(nics, { net0: { ...net0, user: server }, lan })
})

test('a QEMU without a machine carries frames between slirp and a socket, with every forward', () => {
  const dns = { protocol: 'udp', hostAddress: '127.0.0.1', hostPort: 5353, guestPort: 53 } as const

  assert.equal(
    slirpArgs(nicWith(forward, dns), { fd: '7', otherwise }).join(' '),
    [
      '-no-user-config -nodefaults -display none -machine none -accel tcg,tb-size=1',
      '-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
      '-netdev user,id=user,net=10.0.2.0/24,ipv6=off,hostfwd=tcp:0.0.0.0:2222-:22,hostfwd=udp:127.0.0.1:5353-:53',
      '-netdev hubport,id=port0,hubid=0,netdev=user',
      '-netdev stream,id=guest,server=off,addr.type=fd,addr.str=7',
      '-netdev hubport,id=port1,hubid=0,netdev=guest',
    ].join(' '),
  )
})

test('a forward from an address of IPv6 is refused where slirp would serve', () => {
  const plan = nicWith({ ...forward, hostAddress: '::1' })

  assert.throws(
    () => slirpArgs(plan, { fd: '7', otherwise }),
    (error: KvasirError) =>
      error.code === 'unsupported' &&
      /^NIC net0 forwards from ::1, and passt is not installed; .* IPv4 alone, so the VM was not started/.test(
        error.message,
      ),
  )
})

test('a port below 1024 takes a privilege', () => {
  assert.equal(bindsLowPort(nicWith(forward)), false)
  assert.equal(bindsLowPort(nicWith(forward, { ...forward, hostPort: 80 })), true)
})
