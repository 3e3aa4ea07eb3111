/** Where the lab of a checkout keeps what it is made of, and where it is reached while it runs. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { tinyImageCache } from '../../e2e/machine/tiny-image.ts'
import { agentPorts } from '../agent/messages.ts'

/** The paths of one of a checkout's labs: its first, which people use, or one more in which tests run beside it. */
export interface Place {
  readonly checkout: string
  /** Images, one folder each, of all checkouts on this machine. */
  readonly cache: string
  /** What Node compiled inside the lab, which is of use to the next one. */
  readonly compiled: string
  /** Images of guests, as the whole-system tests keep them. */
  readonly guests: string
  /** Sockets and logs of the lab that runs; their paths may not be long. */
  readonly run: string
  readonly monitor: string
  readonly agentSockets: readonly string[]
  readonly console: string
  readonly emulatorLog: string
  /** The identity of the emulator's process. */
  readonly identity: string
  /** Held by whoever starts or ends the lab, while that lasts. */
  readonly lifeLock: string
  /** Shared by all who use the lab that runs; only when nobody else has it does it end or go back. */
  readonly useLock: string
  /** Held by a run of tests: there is one at a time. */
  readonly testsLock: string
  /** Held by whoever runs a file of tests in this lab. */
  readonly fileLock: string
  /** What the lab wrote to its disks, and its snapshots. */
  readonly state: string
  readonly overlay: (disk: string) => string
}

/** On a disk, unlike /tmp on many machines: an image is 1.4 GB. */
const images = '/var/cache/kvasir-lab'

/** The place of a checkout's lab: the first, or one more, by its number. */
export function placeOf(checkout: string, number = 0): Place {
  const first = join(checkout, '.cache/lab')
  const own = number === 0 ? first : join(first, `beside-${number}`)
  const name = createHash('sha256').update(checkout).digest('hex').slice(0, 12)
  const run = join('/tmp', number === 0 ? `kvasir-lab-${name}` : `kvasir-lab-${name}-${number}`)
  const state = join(own, 'state')
  return {
    checkout,
    cache: images,
    compiled: join(first, 'compiled'),
    guests: tinyImageCache,
    run,
    monitor: join(run, 'monitor.sock'),
    agentSockets: Array.from({ length: agentPorts }, (_, port) => join(run, `agent${port}.sock`)),
    console: join(run, 'console.log'),
    emulatorLog: join(run, 'qemu.log'),
    identity: join(run, 'identity.json'),
    lifeLock: join(own, 'life.lock'),
    useLock: join(own, 'use.lock'),
    testsLock: join(own, 'tests.lock'),
    fileLock: join(own, 'file.lock'),
    state,
    overlay: (disk) => join(state, `${disk}.qcow2`),
  }
}
