import assert from 'node:assert/strict'
import { test } from 'node:test'
import { debianPackages, installedNames } from './debian-packages.ts'

test('only packages that are wholly installed count', () => {
  const text =
    'passt installed\nqemu-utils config-files\nmtools half-configured\nfdisk not-installed\nmount installed\n'

  assert.deepEqual(installedNames(text), ['passt', 'mount'])
})

test('each package stands once in the table, and none is one that starts a service', () => {
  const names = Object.values(debianPackages).flatMap((rows) => rows.map((row) => row.name))
  const withServices = ['libvirt-daemon-system', 'dnsmasq', 'qemu-guest-agent', 'openssh-server']

  assert.equal(new Set(names).size, names.length)
  assert.deepEqual(
    withServices.filter((name) => names.some((known) => known === name)),
    [],
  )
})
