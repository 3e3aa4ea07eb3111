/** The table of `kvasir volume`. */
import type { Verbs } from '../command.ts'
import { detachFlag } from '../follow-job.ts'

const volume = { name: 'VOLUME', completes: 'volume' } as const
const poolFlag = {
  summary: 'The pool, where the name does not say it.',
  value: 'POOL',
  completes: 'pool',
} as const
const encryptFlag = {
  encrypt: { summary: 'The secret that it is encrypted with (LUKS).', value: 'SECRET' },
} as const
const compressFlag = { compress: { summary: 'Compress what is copied (qcow2, zstd).' } } as const
const upkeep = () => import('../volume/upkeep.ts')
const work = () => import('../volume/work.ts')
const actions = () => import('../volume/volumes.ts')

export const volumeVerbs: Verbs = {
  list: {
    summary: 'The volumes of all pools, or of one.',
    flags: { pool: poolFlag },
    load: async () => (await actions()).listVolumes,
  },
  show: {
    summary: 'One volume.',
    arguments: [volume],
    flags: { pool: poolFlag },
    load: async () => (await actions()).showVolume,
  },
  create: {
    summary: 'Create an empty volume, or one on an image.',
    examples: [
      'volume create data1 --size 20GiB',
      'volume create root1 --image debian-13',
      'volume create fast/data2 --size 1TiB --format raw',
    ],
    arguments: [{ name: 'VOLUME' }],
    flags: {
      size: { summary: 'Its size, such as 20GiB.', value: 'SIZE' },
      image: { summary: 'The image that it begins as.', value: 'IMAGE', completes: 'image' },
      pool: poolFlag,
      format: { summary: 'Its format; qcow2 unless said.', value: 'FORMAT', completes: ['qcow2', 'raw'] },
      preallocation: {
        summary: 'What of its space is taken at once.',
        value: 'HOW',
        completes: ['none', 'metadata', 'full'],
      },
      'cluster-size': { summary: 'Of qcow2: 512 to 2MiB, a power of two.', value: 'SIZE' },
      'lazy-refcounts': { summary: 'Of qcow2: faster, and repaired after a crash.' },
      ...encryptFlag,
    },
    load: async () => (await actions()).createVolume,
  },
  import: {
    summary: 'Make a volume of a file that lies in a pool, in its place.',
    examples: ['volume import fast/old1 old.img --format raw'],
    arguments: [{ name: 'VOLUME' }, { name: 'FILE' }],
    flags: {
      pool: poolFlag,
      format: {
        summary: 'What the file is; it is never guessed.',
        value: 'FORMAT',
        completes: ['qcow2', 'raw'],
      },
      ...encryptFlag,
      force: { summary: 'Take it for raw contents, although it begins like an image of another format.' },
    },
    load: async () => (await work()).importVolume,
  },
  resize: {
    summary: 'Give a volume another size; a running guest sees it grow.',
    examples: ['volume resize data1 40GiB', 'volume resize fast/data2 +10GiB'],
    arguments: [volume, { name: 'SIZE' }],
    flags: {
      pool: poolFlag,
      shrink: { summary: 'Let it become smaller: what lies beyond is lost.' },
      yes: { summary: 'Do not ask.', short: 'y' },
    },
    load: async () => (await work()).resizeVolume,
  },
  clone: {
    summary: 'Clone a volume: linked to a common base where its pool can, else in full.',
    examples: ['volume clone data1 data2', 'volume clone data1 fast/data2 --full --format raw'],
    arguments: [volume, { name: 'NEW' }],
    flags: {
      pool: poolFlag,
      full: { summary: 'Copy it, so that nothing is shared.' },
      format: { summary: 'The format of a full clone.', value: 'FORMAT', completes: ['qcow2', 'raw'] },
      ...compressFlag,
      ...detachFlag,
    },
    load: async () => (await work()).cloneVolume,
  },
  convert: {
    summary: 'Give a volume another format or pool; it no longer depends on others then.',
    examples: ['volume convert data1 --format raw', 'volume convert data1 --to fast'],
    arguments: [volume],
    flags: {
      pool: poolFlag,
      format: { summary: 'The format.', value: 'FORMAT', completes: ['qcow2', 'raw'] },
      ...compressFlag,
      to: { summary: 'The pool to move it to.', value: 'POOL', completes: 'pool' },
      ...detachFlag,
    },
    load: async () => (await work()).convertVolume,
  },
  download: {
    summary: 'Copy what a guest would read from a volume into a file, or to stdout with -.',
    examples: ['volume download data1 data1.img', 'volume download fast/data2 - | zstd >data2.zst'],
    arguments: [volume, { name: 'FILE', completes: 'file' }],
    flags: { pool: poolFlag, force: { summary: 'Put it in the place of a file that is there.' } },
    load: async () => (await import('../volume/download.ts')).downloadVolume,
  },
  upload: {
    summary:
      'Make a volume of a file, or of what comes from stdin (-); of a file the same command goes on after a break.',
    examples: [
      'volume upload disk.img data1',
      'volume upload disk.qcow2 fast/data2 --format qcow2',
      'volume upload <(zstd -dc data3.zst) data3 --size 20GiB',
    ],
    arguments: [{ name: 'FILE', completes: 'file' }, { name: 'VOLUME' }],
    flags: {
      pool: poolFlag,
      format: {
        summary: 'What the file is: raw (what a guest is to see), or qcow2.',
        value: 'FORMAT',
        completes: ['raw', 'qcow2'],
      },
      as: {
        summary: 'The format of the volume; that of the file unless said.',
        value: 'FORMAT',
        completes: ['raw', 'qcow2'],
      },
      ...encryptFlag,
      size: {
        summary: 'Of a pipe, to a new volume: how large that is; as much may come, and less.',
        value: 'SIZE',
      },
      force: { summary: 'Fill a volume that is there and unused; what was on it is lost.' },
      ...detachFlag,
    },
    load: async () => (await import('../volume/upload.ts')).uploadVolume,
  },
  check: {
    summary: 'Look a volume through for damage; nothing is changed.',
    arguments: [volume],
    flags: { pool: poolFlag, ...detachFlag },
    load: async () => (await upkeep()).checkVolume,
  },
  repair: {
    summary: 'Repair what a check finds.',
    arguments: [volume],
    flags: { pool: poolFlag, yes: { summary: 'Do not ask.', short: 'y' }, ...detachFlag },
    load: async () => (await upkeep()).repairVolume,
  },
  wipe: {
    summary: 'Make an unused volume empty: nothing of what was on it can be read any more.',
    arguments: [volume],
    flags: {
      pool: poolFlag,
      method: {
        summary: 'zero (overwrites what was written), or discard.',
        value: 'METHOD',
        completes: ['zero', 'discard'],
      },
      yes: { summary: 'Do not ask.', short: 'y' },
      ...detachFlag,
    },
    load: async () => (await upkeep()).wipeVolume,
  },
  flatten: {
    summary: 'Make a volume independent of what it is based on; its VM may run.',
    examples: ['volume flatten data2'],
    arguments: [volume],
    flags: { pool: poolFlag, ...detachFlag },
    load: async () => (await import('../volume/flatten.ts')).flattenVolume,
  },
  delete: {
    summary: 'Delete a volume that nobody uses.',
    arguments: [volume],
    flags: { pool: poolFlag, yes: { summary: 'Do not ask.', short: 'y' } },
    load: async () => (await actions()).deleteVolume,
  },
}
