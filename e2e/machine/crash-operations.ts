/**
 * The operations whose every step a daemon may die at: how each begins, what it is, and how one sees that it is done.
 *
 * The VMs need not boot: they have no image, so that their firmware finds nothing and idles. Each operation has VMs of its own.
 */
import type { VmSpecInput } from '@kvasir/contract'
import { driveOperations } from './crash-drives.ts'
import { exportOperations } from './crash-exports.ts'
import { flattenOperations } from './crash-flatten.ts'
import { importOperations } from './crash-imports.ts'
import { moveOperations } from './crash-moves.ts'
import type { Operation } from './crash-operation.ts'
import { secretOperations } from './crash-secrets.ts'
import { snapshotOperations } from './crash-snapshots.ts'
import {
  bring,
  bringAnew,
  bringDisks,
  capacityOf,
  clone,
  cloneVolume,
  create,
  createPool,
  createVolume,
  diskless,
  exists,
  hasDisks,
  hasImage,
  hasPool,
  hasVolume,
  importImage,
  is,
  remove,
  removeImage,
  removePool,
  removeVolume,
  rename,
  resizeVolume,
  setDisks,
  setVcpus,
} from './crash-steps.ts'
import { uploadOperations } from './crash-uploads.ts'

const mib = 2 ** 20
const disks = [
  { name: 'root', size: '64MiB' },
  { name: 'data', size: '64MiB' },
]
/** Disks that a guest may let go of while it runs. */
const movable = [
  { name: 'data', size: '64MiB' },
  { name: 'log', size: '64MiB' },
]
const whole: VmSpecInput = {
  ...diskless,
  disks,
  nics: [{ name: 'net0' }],
  cloudInit: { hostname: 'crash', user: 'kim' },
}

/** All operations. */
export const operations: readonly Operation[] = [
  {
    name: 'create',
    isKeyed: true,
    about: ['created'],
    prepare: (world) => remove(world, 'created'),
    run: (world, key) => create(world, 'created', whole, key),
    isDone: (world) => exists(world, 'created'),
  },
  {
    name: 'start',
    about: ['started'],
    prepare: (world) => bring(world, 'started', 'shutoff', whole),
    run: (world) => world.vm('started').start(),
    isDone: (world) => is(world, 'started', 'running'),
  },
  {
    name: 'power-off',
    about: ['cut'],
    prepare: (world) => bring(world, 'cut', 'running', diskless),
    run: async (world) => void (await world.vm('cut').powerOff()),
    isDone: (world) => is(world, 'cut', 'shutoff'),
  },
  {
    name: 'shutdown',
    onlyDies: true,
    about: ['asked'],
    prepare: (world) => bring(world, 'asked', 'running', diskless),
    run: async (world) => {
      const vm = world.vm('asked')
      if ((await vm.state()) === 'stopping') await vm.powerOff()
      else await vm.shutdown({ mode: 'acpi', timeoutSeconds: 1, escalate: true })
    },
    isDone: (world) => is(world, 'asked', 'shutoff'),
  },
  {
    name: 'save',
    about: ['kept'],
    prepare: (world) => bring(world, 'kept', 'running', whole),
    run: (world) => world.vm('kept').save(),
    isDone: (world) => is(world, 'kept', 'saved'),
  },
  {
    name: 'restore',
    about: ['restored'],
    prepare: (world) => bring(world, 'restored', 'saved', whole),
    run: (world) => world.vm('restored').start(),
    isDone: (world) => is(world, 'restored', 'running'),
  },
  {
    name: 'clone linked',
    isKeyed: true,
    about: ['child'],
    prepare: async (world) => {
      await bring(world, 'parent', 'shutoff', { ...diskless, disks })
      await remove(world, 'child')
    },
    run: (world, key) => clone(world, { name: 'child', mode: 'linked' }, key),
    isDone: (world) => exists(world, 'child'),
  },
  {
    name: 'clone full',
    isKeyed: true,
    about: ['copy'],
    prepare: async (world) => {
      await bring(world, 'parent', 'shutoff', { ...diskless, disks })
      await remove(world, 'copy')
    },
    run: (world, key) => clone(world, { name: 'copy', mode: 'full' }, key),
    isDone: (world) => exists(world, 'copy'),
  },
  {
    name: 'delete with disks',
    about: ['gone'],
    prepare: async (world) => {
      await bring(world, 'gone', 'running', whole)
      await world.vm('gone').powerOff()
    },
    run: (world) => world.vm('gone').delete({ disks: true }),
    isDone: async (world) => !(await exists(world, 'gone')),
  },
  {
    name: 'delete a saved VM',
    about: ['gone-saved'],
    prepare: (world) => bring(world, 'gone-saved', 'saved', diskless),
    run: (world) => world.vm('gone-saved').delete({ disks: true }),
    isDone: async (world) => !(await exists(world, 'gone-saved')),
  },
  {
    name: 'discard saved memory',
    about: ['kept'],
    prepare: (world) => bring(world, 'kept', 'saved', whole),
    run: async (world) => void (await world.vm('kept').discardSaved()),
    isDone: (world) => is(world, 'kept', 'shutoff'),
  },
  {
    name: 'apply a disk more',
    about: ['grown'],
    prepare: async (world) => {
      await remove(world, 'grown')
      await create(world, 'grown', diskless)
    },
    run: async (world) => void (await world.vm('grown').apply({ ...diskless, disks })),
    isDone: async (world) => (await world.vm('grown').show()).spec.disks.length === 2,
  },
  {
    name: 'pin a thread of a running VM',
    about: ['pinned'],
    prepare: async (world) => {
      await bring(world, 'pinned', 'running', diskless)
      await world.vm('pinned').apply(diskless)
    },
    run: async (world) =>
      void (await world.vm('pinned').apply({ ...diskless, cpu: { pin: { emulator: '0' } } })),
    isDone: async (world) => (await world.vm('pinned').show()).spec.cpu.pin?.emulator === '0',
  },
  {
    name: 'plug vCPUs',
    about: ['plugged'],
    prepare: (world) => bringAnew(world, 'plugged', { ...diskless, cpu: { count: 1, max: 3 } }),
    run: (world) => setVcpus(world, 'plugged', { count: 3, max: 3 }),
    isDone: async (world) => (await world.vm('plugged').show()).status.cpu?.count === 3,
  },
  ...snapshotOperations,
  ...secretOperations,
  ...moveOperations,
  ...driveOperations,
  ...flattenOperations,
  ...uploadOperations,
  ...importOperations,
  ...exportOperations,
  {
    name: 'plug a disk',
    about: ['grows'],
    prepare: (world) => bringDisks(world, 'grows', []),
    run: (world) => setDisks(world, 'grows', movable),
    isDone: (world) => hasDisks(world, 'grows', 2),
  },
  {
    name: 'unplug a disk',
    about: ['shrinks'],
    prepare: (world) => bringDisks(world, 'shrinks', movable),
    run: (world) => setDisks(world, 'shrinks', []),
    isDone: (world) => hasDisks(world, 'shrinks', 0),
  },
  {
    name: 'rename',
    about: ['before', 'after'],
    prepare: async (world) => {
      if (await exists(world, 'after')) await rename(world, 'after', 'before')
      if (!(await exists(world, 'before'))) await create(world, 'before', diskless)
    },
    run: (world) => rename(world, 'before', 'after'),
    isDone: (world) => exists(world, 'after'),
  },
  {
    name: 'create a volume',
    isKeyed: true,
    about: [],
    prepare: (world) => removeVolume(world, 'made'),
    run: (world, key) => createVolume(world, 'made', key),
    isDone: (world) => hasVolume(world, 'made'),
  },
  {
    name: 'delete a volume',
    about: [],
    prepare: async (world) => {
      if (!(await hasVolume(world, 'unmade'))) await createVolume(world, 'unmade')
    },
    run: (world) => removeVolume(world, 'unmade'),
    isDone: async (world) => !(await hasVolume(world, 'unmade')),
  },
  {
    name: 'resize a volume',
    about: [],
    prepare: async (world) => {
      await removeVolume(world, 'sized')
      await createVolume(world, 'sized')
    },
    run: (world) => resizeVolume(world, 'sized', 128 * mib),
    isDone: async (world) => (await capacityOf(world, 'sized')) === 128 * mib,
  },
  {
    name: 'clone a volume',
    isKeyed: true,
    about: [],
    prepare: async (world) => {
      await removeVolume(world, 'cloned')
      if (!(await hasVolume(world, 'origin'))) await createVolume(world, 'origin')
    },
    run: (world, key) => cloneVolume(world, { from: 'origin', name: 'cloned' }, key),
    isDone: (world) => hasVolume(world, 'cloned'),
  },
  {
    name: 'create a pool',
    isKeyed: true,
    about: [],
    prepare: (world) => removePool(world, 'pool-made'),
    run: (world, key) => createPool(world, 'pool-made', key),
    isDone: (world) => hasPool(world, 'pool-made'),
  },
  {
    name: 'delete a pool and its volumes',
    about: [],
    prepare: async (world) => {
      if (!(await hasPool(world, 'pool-unmade'))) await createPool(world, 'pool-unmade')
    },
    run: (world) => removePool(world, 'pool-unmade'),
    isDone: async (world) => !(await hasPool(world, 'pool-unmade')),
  },
  {
    name: 'import an image',
    isKeyed: true,
    about: [],
    prepare: (world) => removeImage(world, 'imported'),
    run: (world, key) => importImage(world, 'imported', key),
    isDone: (world) => hasImage(world, 'imported'),
  },
  {
    name: 'delete an image',
    about: [],
    prepare: async (world) => {
      if (!(await hasImage(world, 'imported'))) await importImage(world, 'imported')
    },
    run: (world) => removeImage(world, 'imported'),
    isDone: async (world) => !(await hasImage(world, 'imported')),
  },
]
