import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../tools/fuzz-runs.ts'
import type { VmRecord } from '../ports/store.ts'
import { decodeVmRecord, encodeVmRecord } from '../ports/vm-record.ts'
import { openStore } from './open-store.ts'
import { sampleNow, sampleRoomBytes, sampleVm } from './testing/records.ts'

/** Any letter of Unicode. fast-check's own unit for this builds tables for a second. */
const letter = fc
  .nat(0x10ffff)
  .filter((point) => point < 0xd800 || point > 0xdfff)
  .map((point) => String.fromCodePoint(point))
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}[a-z0-9]$/)
const names = { selector: (device: { name: string }) => device.name, maxLength: 8 }
const optional = () => ({ requiredKeys: [], noNullPrototype: true })

const disk = fc.record(
  { name, volume: name, size: fc.integer({ min: 0, max: 2 ** 50 }), readOnly: fc.boolean() },
  { requiredKeys: ['name'], noNullPrototype: true },
)
const nic = fc.record(
  {
    name,
    forwards: fc.array(
      fc.record(
        { hostPort: fc.integer({ min: 1, max: 65535 }), guestPort: fc.integer({ min: 1, max: 65535 }) },
        { noNullPrototype: true },
      ),
      { maxLength: 3 },
    ),
  },
  { requiredKeys: ['name'], noNullPrototype: true },
)

const spec = fc
  .record(
    {
      description: fc.string({ maxLength: 200, unit: letter }),
      labels: fc.dictionary(name, fc.string({ maxLength: 50, unit: letter }), {
        maxKeys: 5,
        noNullPrototype: true,
      }),
      cpu: fc.record({ count: fc.integer({ min: 1, max: 255 }) }, optional()),
      memory: fc.record(
        { size: fc.integer({ min: 16, max: 2 ** 24 }).map((mib) => `${mib}MiB`) },
        optional(),
      ),
      disks: fc.uniqueArray(disk, names),
      nics: fc.uniqueArray(nic, names),
      cloudInit: fc.record({ userData: fc.string({ maxLength: 500, unit: letter }) }, optional()),
    },
    optional(),
  )
  .map((input) => vmSpec.parse(input))

const record: fc.Arbitrary<VmRecord> = fc
  .record({
    spec,
    reason: fc.string({ unit: letter }),
    vsockCid: fc.option(fc.integer({ min: 3, max: 2 ** 32 - 2 }), { nil: undefined }),
    ran: fc.boolean(),
    saved: fc.option(
      fc.maxSafeNat().map((sizeBytes) => ({ sizeBytes, at: sampleNow() })),
      {
        nil: undefined,
      },
    ),
  })
  .map(({ spec, reason, vsockCid, ran, saved }) => {
    const base = sampleVm('1')
    return {
      ...base,
      spec,
      saved,
      hardware: { ...base.hardware, vsockCid },
      life: { ...base.life, reason },
      run: ran && base.run ? { ...base.run, bootedSpec: spec } : undefined,
    }
  })

test('every record reads back as it was written', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-store-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const store = openStore({ path: join(directory, 'kvasir.db'), now: sampleNow, roomBytes: sampleRoomBytes })
  t.after(() => store.close())
  store.vms.insert(sampleVm('1'))

  fc.assert(
    fc.property(record, (written) => {
      store.vms.update(written)
      assert.deepEqual(store.vms.get('1'), { kind: 'vm', record: written })
    }),
    { numRuns: fuzzRuns(50) },
  )
})

test('reading a record never throws, whatever the text', () => {
  const text = encodeVmRecord(sampleVm('1'))
  const cut = fc.nat(text.length).map((length) => text.slice(0, length))
  const changed = fc
    .tuple(fc.nat(text.length - 1), fc.string({ minLength: 1, maxLength: 3 }))
    .map(([at, replacement]) => text.slice(0, at) + replacement + text.slice(at + 1))

  fc.assert(
    fc.property(fc.oneof(cut, changed, fc.json(), fc.string()), (input) => {
      const decoded = decodeVmRecord(input)
      assert.ok(decoded.kind === 'record' || decoded.reason !== '')
    }),
    { numRuns: fuzzRuns(150) },
  )
})
