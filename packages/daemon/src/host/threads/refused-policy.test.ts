import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PolicyFacts, whyRefused } from './refused-policy.ts'

const usual: PolicyFacts = { mayRaise: true, limit: 0, hostRuntime: 950_000, group: undefined }

test('a refused policy is explained by what forbids it', () => {
  assert.match(whyRefused({ ...usual, hostRuntime: 0 }), /sched_rt_runtime_us is 0/)
  assert.match(whyRefused({ ...usual, group: { path: '/vms', runtime: 0 } }), /cgroup \/vms gives .* no time/)
  assert.match(
    whyRefused({ ...usual, mayRaise: false, limit: 5 }),
    /lacks CAP_SYS_NICE, .* priorities up to 5/,
  )
  assert.match(whyRefused(usual), /CONFIG_RT_GROUP_SCHED/)
})
