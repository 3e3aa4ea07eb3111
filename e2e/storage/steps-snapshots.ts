/** Snapshots while the guest writes: taken, shown, one in the middle deleted, gone back to. */
import assert from 'node:assert/strict'
import type { Snapshot } from '@kvasir/contract'
import { assertSound } from './scene.ts'
import type { Step } from './step.ts'

export const snapshotSteps: readonly Step[] = [
  {
    name: 'snapshots are taken while the guest writes, and shown as a tree',
    async run(scene) {
      const { cli, blocks } = scene
      const taken = new Map<string, readonly [number, number]>()
      scene.notes.snapshots = taken
      let from = await blocks.check()
      for (const [name, ...flags] of [
        ['one'],
        ['two', '--description', 'in the middle'],
        ['three', '--quiesce'],
      ] as const) {
        await cli.run('snapshot', 'create', 'web1', name, ...flags)
        const to = await blocks.moves()
        taken.set(name, [from, to])
        from = to
      }
      await cli.refused(/one/, 'snapshot', 'create', 'web1', 'one')
      const list = await cli.show<readonly Snapshot[]>('snapshot', 'list', 'web1')
      assert.deepEqual(
        list.map(({ name, parent }) => [name, parent]),
        [
          ['one', undefined],
          ['two', 'one'],
          ['three', 'two'],
        ],
      )
      assert.match(await cli.run('snapshot', 'show', 'web1', 'two'), /in the middle/)
      assert.match(await cli.run('snapshot', 'tree', 'web1'), /one[\s\S]*two[\s\S]*three[\s\S]*now/)
      await assertSound(scene)
    },
  },
  {
    name: 'the snapshot in the middle is deleted, and what the guest has stays',
    async run(scene) {
      const { cli, blocks } = scene
      if (!scene.notes.snapshots) return
      await cli.run('snapshot', 'delete', 'web1', 'two', '--yes')
      await blocks.moves()
      const list = await cli.show<readonly Snapshot[]>('snapshot', 'list', 'web1')
      assert.deepEqual(
        list.map(({ name, parent }) => [name, parent]),
        [
          ['one', undefined],
          ['three', 'one'],
        ],
      )
      await assertSound(scene)
    },
  },
  {
    name: 'a revert brings back what there was then, and only that',
    async run(scene) {
      const { world, cli, blocks } = scene
      const taken = scene.notes.snapshots
      if (!taken) return
      const vm = world.vm('web1')
      for (const [name, flags] of [
        ['one', ['--keep']],
        ['three', []],
      ] as const) {
        const boots = await vm.boots()
        await cli.run('snapshot', 'revert', 'web1', name, '--yes', ...flags)
        await vm.waitForLogin(boots + 1)
        const state = await blocks.state()
        const [from, to]: readonly [number, number] = taken.get(name) ?? [0, 0]
        assert.ok(
          from <= state && state <= to,
          `Snapshot ${name} holds the blocks up to ${state}, of ${from} to ${to}.`,
        )
        await blocks.begin(state + 1)
        await blocks.moves()
        await assertSound(scene)
      }
    },
  },
  {
    name: 'all snapshots are deleted, and nothing of them is left',
    async run(scene) {
      const { cli, blocks } = scene
      if (!scene.notes.snapshots) return
      for (const name of ['one', 'three']) await cli.run('snapshot', 'delete', 'web1', name, '--yes')
      await blocks.moves()
      await assertSound(scene)
    },
  },
]
