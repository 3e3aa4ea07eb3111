/** What dies and hangs while the guest writes: the daemon, the emulator, the server. */
import assert from 'node:assert/strict'
import type { Pool, Vm } from '@kvasir/contract'
import { eventually } from '../machine/eventually.ts'
import { poolOf, type Scene } from './scene.ts'
import type { Step } from './step.ts'

export const troubleSteps: readonly Step[] = [
  {
    name: 'the daemon is killed, and the guest writes on',
    async run({ world, blocks }) {
      await world.daemon.kill9()
      await world.startDaemon()
      await blocks.moves()
    },
  },
  {
    name: 'the server hangs: its pool is unreachable, the VM says so, and all else is answered',
    async run(scene) {
      const { world, cli, backend, blocks } = scene
      if (!backend.hangServer) return
      {
        await using _hung = backend.hangServer()
        await eventually(
          async () =>
            (await cli.show<Pool>('pool', 'start', 'tested').catch(() => poolOf(scene))).state ===
            'unreachable',
          { withinMs: 60_000, what: 'the pool is unreachable' },
        )
        const { status } = await cli.show<Vm>('vm', 'show', 'web1')
        assert.equal(status.poolTrouble?.[0]?.pool, 'tested')
        await cli.refused(/cannot be used/, 'volume', 'resize', 'tested/more', '+16MiB')
        await cli.refused(/cannot be used/, 'volume', 'wipe', 'tested/more', '--yes')
        const comes = /cannot be used[\s\S]*comes with its next boot/
        await cli.refused(comes, 'vm', 'disk', 'add', 'web1', 'name=more,pool=tested,volume=more')
        await cli.run('volume', 'create', 'default/elsewhere', '--size', '1MiB')
        await cli.run('volume', 'delete', 'default/elsewhere', '--yes')
      }
      await untilActive(scene)
      assert.equal((await world.vm('web1').show()).status.poolTrouble, undefined)
      // It was to come with the next boot.
      await cli.run('vm', 'disk', 'remove', 'web1', 'more')
      await blocks.moves()
    },
  },
  {
    name: 'the server is killed and comes again, and the guest writes on',
    async run(scene) {
      const { backend, blocks } = scene
      if (!backend.killServer) return
      await backend.killServer()
      await untilActive(scene)
      await blocks.moves()
    },
  },
  {
    name: 'the emulator is killed, and the next one has what was flushed',
    async run({ world, cli, blocks }) {
      const vm = world.vm('web1')
      await blocks.moves()
      const [pid, boots] = [await vm.pid(), await vm.boots()]
      process.kill(pid, 'SIGKILL')
      await vm.untilState('crashed')
      const said = await blocks.said()
      await cli.run('vm', 'start', 'web1')
      await vm.waitForLogin(boots + 1)
      const state = await blocks.state()
      // One block may have been on the disk before the guest could say so.
      assert.ok(
        state === said || state === said + 1,
        `It said ${said}, and the disk has the blocks up to ${state}.`,
      )
      await blocks.begin(state + 1)
      await blocks.moves()
    },
  },
]

async function untilActive(scene: Scene): Promise<void> {
  await eventually(
    async () => {
      await scene.world.cli('pool', 'start', 'tested')
      return (await poolOf(scene)).state === 'active'
    },
    { withinMs: 90_000, what: 'the pool is active again' },
  )
}
