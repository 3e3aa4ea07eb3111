import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Violation } from './sources.ts'
import { tidyViolations, workplaceViolations } from './tidy.ts'

function print(violations: readonly Violation[]): readonly string[] {
  return violations.map(({ path, line, rule }) => `${path}:${line}: ${rule}`)
}

const long = (lines: number) => Array.from({ length: lines }, (_, index) => `  f(${index})`).join('\n')

const firstLine = (text: string) => text.split('\n')[0]?.trim() ?? ''

const plantedViolations = [
  ['a.ts', long(301), /301 lines are more than 300/],
  ['a.ts', `function f() {\n${long(69)}\n}`, /a function of 71 lines/],
  ['a.ts', `const f = () => {\n${long(69)}\n}`, /a function of 71 lines/],
  ['packages/daemon/src/host/string-utils.ts', '', /"utils" in a path/],
  ['packages/daemon/src/lib/a.ts', '', /"lib" in a path/],
  ['a.ts', `class VmManager {}`, /VmManager: "Manager"/],
  ['a.ts', `interface PathUtils {}`, /"Utils" says nothing/],
  ['a.ts', `export default function f() {}`, /no default exports/],
  ['a.ts', `export default { a: 1 }`, /no default exports/],
  ['a.ts', `enum State { On }`, /no enums/],
  ['a.test.ts', `test.only('a', () => {})`, /\.only leaves/],
  ['a.test.ts', `test('a', { only: true }, () => {})`, /only leaves/],
  ['a.test.ts', `test.skip('a', () => {})`, /skip without a reason/],
  ['a.test.ts', `test('a', { skip: true }, () => {})`, /skip without a reason/],
  ['a.test.ts', `test('a', (t) => { t.skip() })`, /skip without a reason/],
  ['a.test.ts', `test.todo('a')`, /no test/],
  // The marks are put together here, since this file is read by the rule as well.
  ['a.ts', `// ${'TO'}${'DO'}: write this`, /does not say what it waits for/],
  ['a.ts', `/* ${'FIX'}${'ME'} later */ // ${'FIX'}${'ME'}`, /does not say what it waits for/],
] as const

for (const [path, text, rule] of plantedViolations) {
  test(`a planted violation is caught: ${path} ${firstLine(text)}`, () => {
    const rules = tidyViolations({ path, text }).map((violation) => violation.rule)

    assert.equal(rules.length, 1, rules.join('; '))
    assert.match(rules[0] ?? '', rule)
  })
}

const tidy = [
  ['a.ts', long(300)],
  ['a.ts', `function f() {\n${long(68)}\n}`],
  ['a.test.ts', `describe('a', () => {\n${long(100)}\n})`],
  ['a.config.ts', `export default { a: 1 }`],
  ['a.test.ts', `test('a', { skip: needs('root') }, () => {})`],
  ['a.test.ts', `test('a', (t) => { t.skip('there is no fan here') })`],
  ['a.ts', `// ${'TO'}${'DO'}(waits for virtual networks): choose the bridge`],
  ['packages/daemon/src/host/qemu/network-helper.ts', `function commonPath() {}`],
  ['packages/libvirt-rpc/src/library.ts', `const skip = stream.skip(3)`],
] as const

for (const [path, text] of tidy) {
  test(`what is tidy passes: ${path} ${firstLine(text)}`, () => {
    assert.deepEqual(print(tidyViolations({ path, text })), [])
  })
}

test('the folder of the checkout and the hosts of packages are found in any file', () => {
  const checkout = '/home/anna/kvasir'
  const find = (path: string, text: string) => workplaceViolations({ path, text }, checkout).length

  assert.equal(find('docs/a.md', `see ${checkout}/docs`), 1)
  assert.equal(find('package-lock.json', `"resolved": "https://packages.example/zod.tgz"`), 1)
  assert.equal(find('docs/a.md', 'see /var/lib/kvasir and /home/anna/kvasir-old'), 0)
  assert.equal(workplaceViolations({ path: 'a', text: 'cd /kvasir' }, '/kvasir').length, 0)
})
