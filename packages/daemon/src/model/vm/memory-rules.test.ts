import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type VmSpec, vmSpec } from '@kvasir/contract'
import { planChanges, type Situation } from './plan-changes.ts'

const gib = 2 ** 30

function specOf(memory: Readonly<Record<string, string>>, balloon = true): VmSpec {
  return vmSpec.parse({ memory, devices: { balloon } })
}

/** The effect of each changed field, with its reason. */
function plan(from: VmSpec, to: VmSpec, situation: Partial<Situation> = {}): Record<string, string> {
  const changes = planChanges(from, to, { state: 'running', ...situation })
  return Object.fromEntries(changes.map(({ field, effect, reason }) => [field, `${effect}: ${reason}`]))
}

const plugMemory = { bootBytes: gib, regionBytes: 3 * gib }
const roomy = specOf({ size: '1GiB', max: '4GiB' })

test('memory is plugged live within what the emulator was started with', () => {
  const to = specOf({ size: '2GiB', max: '4GiB' })

  assert.match(plan(roomy, to, { plugMemory })['memory.size'] ?? '', /^live: virtio-mem/)
  assert.match(plan(to, roomy, { plugMemory })['memory.size'] ?? '', /^live/)
  assert.match(plan(roomy, to, { plugMemory, state: 'saved' })['memory.size'] ?? '', /^next-boot: .* loaded/)
  assert.match(plan(roomy, to, { state: 'shutoff', plugMemory })['memory.size'] ?? '', /^next-boot/)
})

test('other sizes wait for the next boot, and the plan says why', () => {
  const size = (text: string) => specOf({ size: text, max: '8GiB' })
  const why = (text: string) =>
    plan(specOf({ size: '1GiB', max: '8GiB' }), size(text), { plugMemory })['memory.size'] ?? ''

  assert.match(why('512MiB'), /^next-boot: the 1 GiB that it booted with are not unplugged/)
  assert.match(why('5GiB'), /^next-boot: it was booted with room for 4 GiB/)
  assert.match(why('1025MiB'), /^next-boot: memory is plugged in steps of 2 MiB/)
  assert.match(
    plan(specOf({ size: '1GiB' }), specOf({ size: '2GiB' }))['memory.size'] ?? '',
    /^next-boot: memory is plugged only where memory.max/,
  )
})

test('the balloon is filled live, where there is one and as far as it reaches', () => {
  const to = (target: string) => specOf({ size: '1GiB', target })

  assert.match(plan(specOf({ size: '1GiB' }), to('512MiB'))['memory.target'] ?? '', /^live: the balloon/)
  assert.match(plan(to('512MiB'), specOf({ size: '1GiB' }))['memory.target'] ?? '', /^live/)
  assert.match(
    plan(specOf({ size: '1GiB' }, false), { ...to('512MiB'), devices: specOf({}, false).devices })[
      'memory.target'
    ] ?? '',
    /^next-boot: it runs without a balloon/,
  )
  const grown = specOf({ size: '4GiB', max: '4GiB' })
  assert.match(
    plan(grown, specOf({ size: '4GiB', max: '4GiB', target: '1GiB' }), { plugMemory })['memory.target'] ?? '',
    /^next-boot: the balloon takes only from the 1 GiB/,
  )
})

test('sizes that contradict each other are refused with what they contradict', () => {
  const refusal = (memory: Readonly<Record<string, string>>) => {
    const parsed = vmSpec.safeParse({ memory })
    return parsed.error?.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ')
  }

  assert.match(
    refusal({ size: '1GiB', target: '32MiB' }) ?? '',
    /^memory.target is below the floor of 64 MiB/,
  )
  assert.match(
    refusal({ size: '1GiB', floor: '512MiB', target: '511MiB' }) ?? '',
    /below the floor of 512 MiB/,
  )
  assert.match(refusal({ size: '1GiB', target: '2GiB' }) ?? '', /^memory.target is more than the size, 1 GiB/)
  assert.match(refusal({ size: '1GiB', max: '512MiB' }) ?? '', /^memory.max is less than the size/)
  assert.match(
    refusal({ size: '1GiB', high: '3GiB', hard: '2GiB' }) ?? '',
    /^memory.high is more than the hard/,
  )
  assert.match(
    refusal({ size: '1GiB', target: '512MiB', pageSize: '2MiB' }) ?? '',
    /target cannot be had with memory that is locked/,
  )
  assert.equal(refusal({ size: '16MiB' }), undefined)
})
