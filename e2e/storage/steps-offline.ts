/** What is done to volumes that nobody has open: copies, clones, formats, transfers, wipes, and the end of it all. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Pool, Volume } from '@kvasir/contract'
import { blocksSpace, stateOfFile } from './guest-blocks.ts'
import { assertSound, dataOf, poolOf, type Scene, scratch } from './scene.ts'
import type { Step } from './step.ts'
import { downloaded } from './steps-running.ts'

const run = promisify(execFile)

async function assertHolds(scene: Scene, ...volumes: readonly string[]): Promise<void> {
  for (const volume of volumes)
    assert.equal(
      await downloaded(scene, volume),
      scene.notes.lastBlock,
      `${volume} holds what the guest wrote.`,
    )
}

export const offlineSteps: readonly Step[] = [
  {
    name: 'the VM is switched off, and its volume holds what its guest wrote',
    async run(scene) {
      const { cli, blocks } = scene
      const before = await blocks.moves()
      await cli.run('vm', 'power-off', 'web1')
      const last = await downloaded(scene, await dataOf(scene))
      assert.ok(before <= last)
      scene.notes.lastBlock = last
    },
  },
  {
    name: 'the snapshots that went along with the disk hold what they held',
    async run(scene) {
      const { cli, notes } = scene
      for (const [name, [from, to]] of notes.carried ?? []) {
        await cli.run('snapshot', 'revert', 'web1', name, '--yes')
        const state = await downloaded(scene, await dataOf(scene))
        assert.ok(
          from <= state && state <= to,
          `Snapshot ${name} holds the blocks up to ${state}, of ${from} to ${to}.`,
        )
        notes.lastBlock = state
      }
      for (const name of notes.carried?.keys() ?? [])
        await cli.run('snapshot', 'delete', 'web1', name, '--yes')
      if (scene.backend.luns !== undefined)
        await cli.run('vm', 'disk', 'move', 'web1', 'data', '--pool', 'default', '--format', 'qcow2')
      await assertSound(scene)
    },
  },
  {
    name: 'what was downloaded is uploaded, and a file that is not what it claims is not',
    async run(scene) {
      const { cli, backend } = scene
      const file = scratch(scene, 'downloaded.img')
      const evil = scratch(scene, 'evil.qcow2')
      await run('qemu-img', [
        'create',
        '-q',
        '-u',
        '-f',
        'qcow2',
        '-F',
        'raw',
        '-b',
        '/etc/shadow',
        evil,
        '8M',
      ])
      const target = backend.luns ? 'tested/more' : 'tested/uploaded'
      const asIts = backend.luns ? ['--force'] : ['--as', backend.format]
      await cli.refused(
        /shadow|other file|qcow2|keeps its format/,
        'volume',
        'upload',
        evil,
        target,
        '--format',
        'qcow2',
        ...(backend.luns ? ['--force'] : []),
      )
      await cli.refused(/looks like a qcow2 image/, 'volume', 'upload', evil, target, ...asIts)
      if (backend.luns === undefined) {
        const { code } = await scene.world.cli('volume', 'delete', target, '--yes')
        assert.ok(code === 0 || code === 3)
      }
      await cli.run('volume', 'upload', file, target, ...asIts)
      await assertHolds(scene, target)
    },
  },
  {
    name: 'clones hold what their origin held, and one that others are based on is not deleted',
    async run(scene) {
      const { cli, backend } = scene
      const data = await dataOf(scene)
      await cli.run('volume', 'clone', data, 'default/copy', '--full', '--format', 'qcow2')
      await assertHolds(scene, 'default/copy')
      if (backend.luns !== undefined) {
        await cli.refused(/makes no volumes/, 'volume', 'clone', data, 'tested/full', '--full')
        return
      }
      await cli.run('volume', 'clone', data, 'tested/full', '--full')
      await assertHolds(scene, 'tested/full')
      const { capabilities } = await poolOf(scene)
      if (!capabilities.linkedClones) {
        await cli.refused(/full/, 'volume', 'clone', data, 'tested/linked')
        return
      }
      await cli.run('volume', 'clone', 'tested/full', 'tested/linked')
      await assertSound(scene)
      const { base } = await cli.show<Volume>('volume', 'show', 'tested/linked')
      if (base !== undefined) {
        const { overlays = [] } = await cli.show<Volume>('volume', 'show', `tested/${base}`)
        assert.ok(overlays.some((name) => name.endsWith('linked')))
        const { stderr } = await cli.refused(
          /in use by|are based on/,
          'volume',
          'delete',
          `tested/${base}`,
          '--yes',
        )
        for (const name of overlays) assert.ok(stderr.includes(name), `${stderr} names ${name}.`)
        await cli.run('volume', 'flatten', 'tested/linked')
      }
      await cli.run('volume', 'delete', 'tested/full', '--yes')
      await assertHolds(scene, 'tested/linked')
      await assertSound(scene)
    },
  },
  {
    name: 'a volume goes to another format and pool and back',
    async run(scene) {
      const { cli, backend } = scene
      if (backend.luns === undefined) {
        await cli.run('volume', 'convert', 'default/copy', '--to', 'tested', '--format', backend.format)
        await assertHolds(scene, 'tested/copy')
        await cli.run('volume', 'convert', 'tested/copy', '--to', 'default', '--format', 'qcow2')
      } else
        await cli.refused(
          /makes no volumes/,
          'volume',
          'convert',
          'default/copy',
          '--to',
          'tested',
          '--format',
          'raw',
        )
      await cli.run('volume', 'check', 'default/copy')
      await cli.run('volume', 'repair', 'default/copy', '--yes')
      await assertHolds(scene, 'default/copy')
      await assertSound(scene)
    },
  },
  {
    name: 'a volume is checked, and after a wipe nothing of what it held is there',
    async run(scene) {
      const { cli } = scene
      await cli.run('volume', 'check', 'tested/more')
      await cli.run('volume', 'wipe', 'tested/more', '--yes')
      const file = scratch(scene, 'wiped.img')
      await cli.run('volume', 'download', 'tested/more', file)
      assert.equal(await stateOfFile(file), -1)
      assert.ok(await isZero(file))
    },
  },
  {
    name: 'what a new volume holds is nothing that another one held',
    async run(scene) {
      const { cli, backend } = scene
      if (backend.luns !== undefined) return
      const size = ['--size', String(blocksSpace), '--format', backend.format]
      await cli.run(
        'volume',
        'upload',
        scratch(scene, 'downloaded.img'),
        'tested/former',
        '--as',
        backend.format,
      )
      await cli.run('volume', 'delete', 'tested/former', '--yes')
      await cli.run('volume', 'create', 'tested/later', ...size)
      const file = scratch(scene, 'later.img')
      await cli.run('volume', 'download', 'tested/later', file)
      assert.ok(await isZero(file))
    },
  },
  {
    name: 'VM, volumes and pool are deleted, and nothing of them is left',
    async run(scene) {
      const { cli, backend } = scene
      await cli.run('vm', 'delete', 'web1', '--disks', '--yes')
      const { findings = [] } = await cli.show<Pool>('pool', 'refresh', 'tested')
      const isOurs = findings.filter(({ kind }) => kind !== 'foreign')
      assert.deepEqual(isOurs, [])
      await cli.run('pool', 'delete', 'tested', '--remove-data', '--yes')
      assert.deepEqual(await backend.differences([]), [])
      for (const { name } of await cli.show<readonly Volume[]>('volume', 'list'))
        await cli.run('volume', 'delete', `default/${name}`, '--yes')
    },
  },
]

async function isZero(path: string): Promise<boolean> {
  await using file = await open(path)
  const piece = Buffer.alloc(2 ** 20)
  for (;;) {
    const { bytesRead } = await file.read(piece, 0, piece.length)
    if (bytesRead === 0) return true
    if (piece.subarray(0, bytesRead).some((byte) => byte !== 0)) return false
  }
}
