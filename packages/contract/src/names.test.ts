import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostPath, macAddress, resourceName, sha256 } from './names.ts'

test('names are letters, digits, dots, dashes and underscores between a letter or digit', () => {
  for (const name of ['a', 'web1', 'Web-1.example_2', '9', 'a'.repeat(63)])
    assert.equal(resourceName.parse(name), name)
})

test('names that could be a path, an option, a query or a trick of the eye are refused', () => {
  const bad = [
    '',
    ' ',
    '.',
    '..',
    '-rf',
    'a/b',
    '../../etc/shadow',
    'a\0b',
    'a\nb',
    'a b',
    'a-',
    '.a',
    "a'; drop table vms; --",
    'a%2fb',
    'а', // Cyrillic
    'naïve',
    '名前',
    '\u202egnp',
    'a'.repeat(64),
    'a'.repeat(10_000),
    42,
    null,
    ['a'],
  ]
  for (const name of bad) assert.equal(resourceName.safeParse(name).success, false, String(name).slice(0, 80))
})

test('a name of ten thousand characters is refused at once', () => {
  const started = performance.now()
  assert.equal(resourceName.safeParse(`${'a'.repeat(10_000)}-`).success, false)
  assert.ok(performance.now() - started < 500)
})

test('MAC addresses are unicast and come out in lower case', () => {
  assert.equal(macAddress.parse('52:54:00:AB:cd:01'), '52:54:00:ab:cd:01')
  for (const bad of [
    '01:00:5e:00:00:01',
    'ff:ff:ff:ff:ff:ff',
    '52:54:00:12:34',
    '525400123456',
    '52-54-00-12-34-56',
  ]) {
    assert.equal(macAddress.safeParse(bad).success, false, bad)
  }
})

test('digests are 64 hexadecimal digits', () => {
  assert.equal(sha256.parse('A'.repeat(64)), 'a'.repeat(64))
  for (const bad of ['a'.repeat(63), 'a'.repeat(65), 'g'.repeat(64)])
    assert.equal(sha256.safeParse(bad).success, false)
})

test('paths are absolute, without NUL, newline and ..', () => {
  assert.equal(hostPath.parse('/srv/a b/..c/x.qcow2'), '/srv/a b/..c/x.qcow2')
  for (const bad of ['', 'a', './a', '/a/../etc/shadow', '/..', '/a\0', '/a\nb', `/${'a'.repeat(4096)}`]) {
    assert.equal(hostPath.safeParse(bad).success, false, bad.slice(0, 40))
  }
})
