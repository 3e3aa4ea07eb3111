/** The pool and its volumes before a VM has one: made, looked at, stopped; and all that must be refused. */
import assert from 'node:assert/strict'
import type { Pool, Volume } from '@kvasir/contract'
import { blocksSpace } from './guest-blocks.ts'
import { poolOf } from './scene.ts'
import type { Step } from './step.ts'

export const poolSteps: readonly Step[] = [
  {
    name: 'a pool is created, shown, refreshed, stopped, started and made autostart',
    async run(scene) {
      const { cli, backend } = scene
      for (const { argv, says } of backend.badPools) await cli.refused(says, ...argv)
      await cli.run('pool', 'create', 'tested', ...backend.pool)
      const shown = await poolOf(scene)
      assert.deepEqual([shown.state, shown.health, shown.volumes], ['active', 'good', 0])
      assert.ok(Number(shown.capacityBytes) > 0)
      const { findings = [] } = await cli.show<Pool>('pool', 'refresh', 'tested')
      assert.deepEqual(
        findings.map(({ kind }) => kind),
        (backend.luns ?? []).map(() => 'foreign'),
        'What lies there is told, and not taken.',
      )
      assert.match(await cli.run('pool', 'check', 'tested'), /all is well/)
      await cli.refused(/pool/, 'pool', 'create', 'again', ...backend.pool)
      await cli.run('pool', 'stop', 'tested')
      await cli.refused(/not started/, 'volume', 'create', 'tested/none', '--size', '1MiB')
      await cli.run('pool', 'autostart', 'tested', 'off')
      await cli.run('pool', 'start', 'tested')
      await cli.run('pool', 'autostart', 'tested', 'on')
      assert.equal((await poolOf(scene)).autostart, true)
    },
  },
  {
    name: 'volumes are made of what the pool has',
    async run({ cli, backend }) {
      const make = ['--format', backend.format]
      for (const [index, name] of ['data', 'more'].entries()) {
        const lun = backend.luns?.[index]
        if (lun !== undefined) {
          await cli.run('volume', 'import', `tested/${name}`, lun, '--format', 'raw')
          await cli.refused(/already/, 'volume', 'import', 'tested/twice', lun, '--format', 'raw')
        } else await cli.run('volume', 'create', `tested/${name}`, '--size', String(blocksSpace), ...make)
      }
      const volumes = await cli.show<readonly Volume[]>('volume', 'list', '--pool', 'tested')
      assert.deepEqual(
        volumes.map(({ name, format, capacityBytes }) => [name, format, capacityBytes]),
        ['data', 'more'].map((name) => [name, backend.format, blocksSpace]),
      )
    },
  },
  {
    name: 'what is wrong is refused in words, and nothing comes of it',
    async run(scene) {
      const { cli, backend } = scene
      const before = await cli.run('volume', 'list')
      const pools = await cli.run('pool', 'list', '-o', 'json')
      const make = ['--format', backend.format]
      for (const name of ['tested/..', '../tested', 'tested/a/b', 'tested/.hidden', 'tested/a b', 'tested/'])
        await cli.refused(/name|volume|pool/, 'volume', 'create', name, '--size', '1MiB', ...make)
      for (const size of ['0', '1000', '513', '-1', 'much'])
        await cli.refused(
          /size|sector|Unknown|value/,
          'volume',
          'create',
          'tested/bad',
          `--size=${size}`,
          ...make,
        )
      if (backend.luns === undefined)
        await cli.refused(
          /room|large|beyond|most/,
          'volume',
          'create',
          'tested/bad',
          '--size',
          '8000TiB',
          '--preallocation',
          'none',
          ...make,
        )
      for (const size of ['0', '1000', '16MiB'])
        await cli.refused(/sector|shrink|resized/, 'volume', 'resize', 'tested/data', size)
      await cli.refused(/large|room|beyond|most|resized/, 'volume', 'resize', 'tested/data', '8000TiB')
      await cli.refused(/no pool/, 'volume', 'create', 'nowhere/bad', '--size', '1MiB')
      await cli.refused(/no volume/, 'volume', 'show', 'tested/nothing')
      for (const { argv, says } of backend.bad) await cli.refused(says, ...argv)
      assert.equal(await cli.run('volume', 'list'), before)
      const names = (text: string) => JSON.parse(text).map((pool: Pool) => pool.name)
      assert.deepEqual(names(await cli.run('pool', 'list', '-o', 'json')), names(pools))
    },
  },
]
