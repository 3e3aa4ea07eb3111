/** A pool of RBD in the words of tests: made on the command line, in a namespace that no other test has. */
import assert from 'node:assert/strict'
import { runCli } from './cli.ts'
import type { World } from './world.ts'

/** A Ceph beside the test. */
export interface CephBeside {
  readonly monitor: string
  readonly key: string
  tool(program: 'rbd', ...args: readonly string[]): Promise<string>
}

/** Makes the pool `ceph1` of a namespace of a Ceph. */
export async function openCephPool(world: World, ceph: CephBeside, namespace: string): Promise<void> {
  await ceph.tool('rbd', 'namespace', 'create', `rbd/${namespace}`)
  const kept = await runCli(world.place, ['secret', 'create', 'ceph-key', '--file', '-'], {
    input: `${ceph.key}\n`,
  })
  assert.equal(kept.code, 0, kept.stderr)
  const login = ['--monitors', ceph.monitor, '--ceph-pool', 'rbd', '--user', 'kvasir', '--secret', 'ceph-key']
  const place = ['--type', 'rbd', '--namespace', namespace]
  const made = await world.cli('pool', 'create', 'ceph1', ...place, ...login)
  assert.equal(made.code, 0, made.stderr)
}

/** Asserts that a namespace holds no image and none in its trash. */
export async function assertEmpty(ceph: CephBeside, namespace: string): Promise<void> {
  assert.equal((await ceph.tool('rbd', 'ls', `rbd/${namespace}`)).trim(), '')
  assert.equal((await ceph.tool('rbd', 'trash', 'ls', `rbd/${namespace}`)).trim(), '')
}
