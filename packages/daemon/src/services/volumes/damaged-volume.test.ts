/** A file that an emulator did not open, by the name of what it is, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError, newVolume } from '@kvasir/contract'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'
import { namingVolume } from './damaged-volume.ts'

const damaged = (path: string, remedy: 'repair' | 'restore') =>
  new KvasirError('volume-damaged', `What disk root lies on (${path}) is hurt, so the VM does not run.`, {
    details: { disk: 'root', path, why: 'is hurt', remedy, consequence: 'the VM does not run' },
  })
const wordsOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

test('a damaged volume is named with what helps; what is no volume and what is no damage stay as they are', async () => {
  await using world = await openSimulatedDaemon()
  const body = newVolume.parse({ name: 'data', size: 2 ** 30, format: 'qcow2' })
  const { path = '' } = await world.call('createVolume', { params: { pool: 'default' }, body })
  const named = (error: unknown) => namingVolume(error, world.ports)

  assert.equal(
    wordsOf(named(damaged(path, 'repair'))),
    'Disk root lies on volume data, which is hurt, so the VM does not run; `kvasir volume repair data` mends its tables.',
  )
  assert.match(wordsOf(named(damaged(path, 'restore'))), /neither `volume check` nor .* restore it from/)
  const [elsewhere, other] = [damaged('/srv/other.qcow2', 'repair'), new Error('something else')]
  assert.deepEqual([named(elsewhere), named(other)], [elsewhere, other])
})
