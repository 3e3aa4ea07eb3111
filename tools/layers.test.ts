import assert from 'node:assert/strict'
import { test } from 'node:test'
import { layerViolations } from './layers.ts'

/** What the rules say of one line planted in a file. */
function planted(path: string, text: string): readonly string[] {
  return layerViolations({ path, text }).map((violation) => violation.rule)
}

const plantedViolations = [
  ['packages/contract/src/vm.ts', `import '@kvasir/sdk'`, /contract may not import sdk/],
  ['packages/contract/src/vm.ts', `import { join } from 'node:path'`, /browser/],
  ['packages/qmp/src/client.ts', `import { vm } from '@kvasir/contract'`, /qmp may not import contract/],
  [
    'packages/linux/src/cgroup.ts',
    `import type { Vm } from '@kvasir/contract'`,
    /linux may not import contract/,
  ],
  ['packages/cli/src/main.ts', `import '@kvasir/daemon'`, /cli may not import main/],
  ['packages/linux/src/a.ts', `import '@kvasir/daemon/model/a'`, /linux may not import model/],
  [
    'packages/daemon/src/model/vm/a.ts',
    `import type { Store } from '../../ports/store.ts'`,
    /model may not import ports/,
  ],
  [
    'packages/daemon/src/services/vms/a.ts',
    `import '../../host/qemu/launch.ts'`,
    /services may not import host/,
  ],
  [
    'packages/daemon/src/services/vms/a.ts',
    `const x = await import('../../store/vms.ts')`,
    /services may not import store/,
  ],
  ['packages/daemon/src/api/a.ts', `import { QmpClient } from '@kvasir/qmp'`, /api may not import qmp/],
  ['packages/daemon/src/api/a.ts', `export * from '../ports/store.ts'`, /api may not import ports/],
  ['packages/daemon/src/api/a.ts', `type T = import('../store/vms.ts').Row`, /api may not import store/],
  [
    'packages/daemon/src/services/a.ts',
    `import { readFile } from 'node:fs/promises'`,
    /may not touch the machine/,
  ],
  [
    'packages/daemon/src/supervisor/a.ts',
    `import { spawn } from 'node:child_process'`,
    /may not touch the machine/,
  ],
  [
    'packages/daemon/src/services/a.ts',
    `import { fake } from '../host/testing/fake.ts'`,
    /only tests import those/,
  ],
  ['packages/daemon/src/odd/a.ts', ``, /in no room/],
  ['e2e/suites/a.e2e.ts', `import '../../packages/daemon/src/main.ts'`, /e2e may not import main/],
  ['bench/a.bench.ts', `import '../packages/daemon/src/store/vms.ts'`, /bench may not import store/],
  ['packages/daemon/src/model/a.ts', `const now = () => Date.now()`, /no Date.now/],
  ['packages/daemon/src/model/a.ts', `const now = () => new Date()`, /no new Date\(\) of now/],
  ['packages/daemon/src/model/a.ts', `const dice = () => Math.random()`, /no Math.random/],
  ['packages/daemon/src/model/a.ts', `const id = () => crypto.randomUUID()`, /no crypto.randomUUID/],
  ['packages/daemon/src/model/a.ts', `import { randomUUID } from 'node:crypto'`, /may not import randomUUID/],
  ['packages/daemon/src/model/a.ts', `async function f() {}`, /no async functions/],
  ['packages/daemon/src/model/a.ts', `type T = Promise<void>`, /no Promise/],
  ['packages/daemon/src/model/a.ts', `const home = () => process.env`, /no process/],
  ['packages/sdk/src/a.ts', `let count = 0`, /a module has no state/],
  [
    'packages/daemon/src/host/a.ts',
    `export const cache = new Map<string, string>()`,
    /cache is an empty container/,
  ],
  ['tools/a.ts', `const found: string[] = []`, /found is an empty container/],
] as const

for (const [path, text, rule] of plantedViolations) {
  test(`a planted violation is caught: ${text || path} in ${path}`, () => {
    const rules = planted(path, text)

    assert.equal(rules.length, 1)
    assert.match(rules[0] ?? '', rule)
  })
}

const allowed = [
  ['packages/daemon/src/main.ts', `import { launch } from './host/qemu/launch.ts'`],
  [
    'packages/daemon/src/host/qemu/a.ts',
    `import { spawn } from 'node:child_process'; import { QmpClient } from '@kvasir/qmp'`,
  ],
  [
    'packages/daemon/src/services/vms/a.test.ts',
    `import { simulate } from '../../simulated/host.ts'; import 'node:fs'`,
  ],
  ['packages/daemon/src/host/a.host.test.ts', `import { needs } from '../../../../tools/require.ts'`],
  ['packages/qmp/src/a.test.ts', `import { fuzzRuns } from '../../../tools/fuzz-runs.ts'`],
  [
    'packages/daemon/src/model/a.ts',
    `import { createHash } from 'node:crypto'; import { join } from 'node:path'`,
  ],
  ['packages/cli/src/host/a.ts', `const judge = await import('@kvasir/daemon/model/host/a')`],
  ['packages/daemon/src/model/a.ts', `const at = (time: number) => new Date(time).toISOString()`],
  [
    'packages/daemon/src/model/a.ts',
    `interface Row { readonly process: string }; const f = (row: Row) => row.process`,
  ],
  ['packages/daemon/src/host/a.host.test.ts', `let server: Server | undefined`],
  ['packages/daemon/src/host/a.ts', `export const kinds: ReadonlySet<string> = new Set(['a', 'b'])`],
] as const

for (const [path, text] of allowed) {
  test(`what is allowed passes: ${text} in ${path}`, () => {
    assert.deepEqual(planted(path, text), [])
  })
}
