import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { requireOffered } from '../../model/cpu/judge-cpu.ts'
import { CpuOffers } from './cpu-offers.ts'
import { EmulatorBinary } from './emulator-binary.ts'

const skip = needs('qemu')

async function open(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-cpu-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const binary = new EmulatorBinary({ binary: undefined, cachePath: join(folder, 'qemu.json') })
  const offers = () =>
    new CpuOffers({
      bootId: 'boot',
      cachePath: (accelerator) => join(folder, `cpu-${accelerator}.json`),
      findBinary: () => binary.find(),
    })
  return { folder, offers }
}

test('QEMU says which models and flags it offers under TCG, once for all who ask', { skip }, async (t) => {
  const { folder, offers } = await open(t)
  const asked = offers()

  const [offer, same] = await Promise.all([asked.find('tcg'), asked.find('tcg')])
  const kept = await offers().find('tcg')

  assert.deepEqual(offer.models['qemu64-v1'], [])
  assert.ok(Object.keys(offer.models).length > 50)
  assert.equal(offer.flags['sse4.2'], true)
  assert.equal(offer.flags['sse4_2'], true)
  assert.equal(offer.flags['avx512f'], false)
  assert.deepEqual([same, kept], [offer, offer])
  assert.deepEqual(await readdir(folder), ['cpu-tcg.json'])
})

test('TCG has the baselines up to v3 and the AMD extension, and lacks AVX-512', { skip }, async (t) => {
  const { offers } = await open(t)
  const offer = await offers().find('tcg')
  const judge = (cpu: object) => requireOffered('web1', vmSpec.parse({ cpu }).cpu, offer)

  judge({ model: 'x86-64-v2' })
  judge({ model: 'x86-64-v3', features: { aes: true } })
  judge({ nested: true })
  assert.throws(() => judge({ model: 'x86-64-v4' }), /avx512bw, avx512cd, avx512dq, avx512f, avx512vl/)
  assert.throws(() => judge({ model: 'Skylake-Server-v4' }), /lacks the flags .*avx512f.*pcid/)
  assert.throws(() => judge({ features: { avx51f: true } }), /Did you mean avx512f/)
})
