/** `KVASIR_UPDATE_GOLDEN=1` writes the files anew. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { buildEmulator } from './build-emulator.ts'
import type { Descriptor, EmulatorPlan } from './emulator-plan.ts'
import { firstDescriptor } from './emulator-plan.ts'
import { goldenCases } from './golden-cases.ts'

const folder = join(import.meta.dirname, 'golden')
const updating = process.env['KVASIR_UPDATE_GOLDEN'] === '1'

/** A plan as a page: one argument a line, and below it what stands behind each descriptor. */
function page(plan: EmulatorPlan): string {
  const descriptors = plan.descriptors.map(
    (descriptor, index) => `# ${firstDescriptor + index} ${describe(descriptor)}`,
  )
  const binds = plan.binds.map(({ source, target }) => `# ${target} from ${source}`)
  const nics = plan.userNics.map(({ nic, mac }) => `# NIC ${nic} as ${mac}`)
  const shares = (plan.shares ?? []).map(
    ({ share, folder, readOnly }) => `# share ${share} is ${folder}${readOnly ? ', read-only' : ''}`,
  )
  return [...plan.argv, ...descriptors, ...binds, ...nics, ...shares, ''].join('\n')
}

function describe(descriptor: Descriptor): string {
  switch (descriptor.kind) {
    case 'listener':
      return `listener ${descriptor.socket}`
    case 'file':
      return `file ${descriptor.path} ${descriptor.access}${descriptor.direct ? ' direct' : ''}`
    case 'device':
      return `device ${descriptor.path}`
    case 'nic':
      return `socket of NIC ${descriptor.nic}`
    case 'tpm':
      return 'socket of the TPM'
    case 'share':
      return `socket of share ${descriptor.share}`
    case 'tap':
      return `queue ${descriptor.queue} of tap ${descriptor.tap}`
  }
}

if (updating) for (const file of readdirSync(folder)) rmSync(join(folder, file))

for (const { name, input } of goldenCases) {
  test(`the command line of ${name} is the one that is kept`, () => {
    const file = join(folder, `${name}.args`)
    const text = page(buildEmulator(input))
    if (updating) writeFileSync(file, text)
    assert.equal(text, readFileSync(file, 'utf8'))
  })
}

test('there is a golden file for every case and no other', () => {
  const names = goldenCases.map(({ name }) => `${name}.args`)
  assert.equal(new Set(names).size, names.length)
  assert.deepEqual(new Set(readdirSync(folder)), new Set(names))
})
