import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cloudInitSpec } from '@kvasir/contract'
import { parse } from 'yaml'
import { buildSeed, buildSeedDocuments } from './cloud-init.ts'

const hash = '$6$salt$0123456789abcdef'

test('a user with keys and a password becomes a cloud-config that says so', () => {
  const spec = cloudInitSpec.parse({
    user: 'ada',
    sshKeys: ['ssh-ed25519 AAAA "odd": #key'],
    passwordHash: hash,
  })

  const documents = buildSeedDocuments({ ...spec, instanceId: 'i-1', hostname: 'web_1' })

  assert.match(documents['user-data'], /^#cloud-config\n/)
  const config: unknown = parse(documents['user-data'])
  assert.deepEqual(config, {
    hostname: 'web-1',
    manage_etc_hosts: true,
    users: [
      {
        name: 'ada',
        shell: '/bin/bash',
        groups: ['sudo'],
        sudo: 'ALL=(ALL) NOPASSWD:ALL',
        ssh_authorized_keys: ['ssh-ed25519 AAAA "odd": #key'],
        lock_passwd: false,
        passwd: hash,
      },
    ],
    ssh_pwauth: false,
  })
  assert.deepEqual(parse(documents['meta-data']), { 'instance-id': 'i-1', 'local-hostname': 'web-1' })
  assert.equal(documents['network-config'], undefined)
})

test("without a user the image's default user gets the keys, and no password stays locked", () => {
  const spec = cloudInitSpec.parse({ sshKeys: ['ssh-ed25519 AAAA'] })

  const config: unknown = parse(buildSeedDocuments({ ...spec, instanceId: 'i', hostname: 'a' })['user-data'])

  assert.deepEqual(config, {
    hostname: 'a',
    manage_etc_hosts: true,
    ssh_authorized_keys: ['ssh-ed25519 AAAA'],
    ssh_pwauth: false,
  })
})

test('user-data of the spec is handed over byte for byte', () => {
  const userData = '#!/bin/sh\necho "hello: world"\n'
  const spec = cloudInitSpec.parse({ user: 'ada', userData })

  assert.equal(buildSeedDocuments({ ...spec, instanceId: 'i', hostname: 'a' })['user-data'], userData)
})

test('a network of the spec becomes network-config', () => {
  const network = { version: 2, ethernets: { eth0: { dhcp4: true } } }
  const spec = cloudInitSpec.parse({ network })

  const text = buildSeedDocuments({ ...spec, instanceId: 'i', hostname: 'a' })['network-config']

  assert.deepEqual(parse(text ?? ''), network)
})

test('the same spec gives the same seed, and another instance id another', () => {
  const spec = cloudInitSpec.parse({ user: 'ada' })
  const build = (instanceId: string): Buffer => Buffer.from(buildSeed({ ...spec, instanceId, hostname: 'a' }))

  assert.ok(build('i-1').equals(build('i-1')))
  assert.ok(!build('i-1').equals(build('i-2')))
})
