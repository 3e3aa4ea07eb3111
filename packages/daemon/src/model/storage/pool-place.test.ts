import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isOfTheSystem } from './pool-place.ts'

test('folders of the system are no pools, nor what lies in those that hold its programs and settings', () => {
  for (const path of ['/', '/etc', '/etc/kvasir', '/usr/local/vms', '/proc/self', '/var', '/tmp', '/home'])
    assert.ok(isOfTheSystem(path), path)
})

test('folders for data are pools', () => {
  for (const path of [
    '/srv',
    '/srv/vms',
    '/mnt',
    '/var/lib/vms',
    '/home/me/vms',
    '/run/media/disk',
    '/etcetera',
    '/tmp/x',
  ])
    assert.ok(!isOfTheSystem(path), path)
})
