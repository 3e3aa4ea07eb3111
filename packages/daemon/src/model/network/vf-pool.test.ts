import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type HostPf, type HostVf, planPool, useOf } from './vf-pool.ts'

const idle: HostVf = { address: '0000:02:10.0', interfaces: [] }
const lent: HostVf = { address: '0000:02:10.2', driver: 'vfio-pci', interfaces: [] }

function pf(...vfs: readonly HostVf[]): HostPf {
  return { pf: 'eth0', address: '0000:02:00.0', isUp: true, totalVfs: 63, vfs }
}

function refusal(found: HostPf | undefined, wanted?: number): string {
  const plan = planPool('eth0', found, wanted)
  assert.equal(plan.kind, 'refuse')
  return plan.kind === 'refuse' ? plan.why : ''
}

test('virtual functions are made of a physical function that has none, as many as it can have', () => {
  assert.deepEqual(planPool('eth0', pf(), 4), { kind: 'make', count: 4 })
  assert.deepEqual(planPool('eth0', pf(), undefined), { kind: 'make', count: 8 })
  assert.deepEqual(planPool('eth0', { ...pf(), totalVfs: 7 }, undefined), { kind: 'make', count: 7 })
})

test('those that are there stay, when they are enough', () => {
  assert.deepEqual(planPool('eth0', pf(idle, lent), undefined), { kind: 'keep' })
  assert.deepEqual(planPool('eth0', pf(idle, lent), 2), { kind: 'keep' })
})

test('a number that is not 0 is never changed, and who has some is named', () => {
  assert.match(
    refusal(pf(idle, lent), 4),
    /eth0 has 2 virtual functions, of which are used: 0000:02:10.2 is with vfio-pci/,
  )
})

test('a device that is none, cannot have so many, or is down is refused with the reason', () => {
  assert.match(refusal(undefined), /no interface eth0 of a device with SR-IOV/)
  assert.match(refusal(pf(), 64), /can have 63 virtual functions at most, and 64 are asked for/)
  assert.match(refusal({ ...pf(), isUp: false }), /eth0 is down.*ip link set eth0 up/)
})

test('a virtual function is used by VFIO, by an interface that is up, and by a driver whose interface is elsewhere', () => {
  const own = (isUp: boolean): HostVf => ({ ...idle, driver: 'igbvf', interfaces: [{ link: 'eth5', isUp }] })

  assert.equal(useOf(idle), undefined)
  assert.equal(useOf(own(false)), undefined)
  assert.match(useOf(own(true)) ?? '', /an interface that is up \(eth5\)/)
  assert.match(useOf(lent) ?? '', /vfio-pci/)
  assert.match(useOf({ ...idle, driver: 'igbvf' }) ?? '', /no interface of it is here/)
})
