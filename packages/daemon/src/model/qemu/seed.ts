/** The NoCloud seed: a small read-only disk, which cloud-init finds by its label. Its id has no dash, so no disk's name meets it. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The arguments for the seed, when there is one. */
export function seedArgs({ input, descriptors, bus }: BuildContext): readonly string[] {
  if (input.seedPath === undefined) return []
  const set = descriptors.addSet(
    { kind: 'file', path: input.seedPath, access: 'read', direct: false },
    'seed',
  )
  return [
    ...set.args,
    ...jsonOption('-blockdev', {
      driver: 'file',
      'node-name': 'seedfile',
      filename: set.path,
      'read-only': true,
    }),
    ...jsonOption('-blockdev', { driver: 'raw', 'node-name': 'seed', file: 'seedfile', 'read-only': true }),
    ...jsonOption('-device', {
      driver: 'virtio-blk-pci',
      id: 'seed',
      ...bus.place('seed'),
      'disable-legacy': 'on',
      drive: 'seed',
      serial: 'seed',
      'num-queues': 1,
      werror: 'stop',
      rerror: 'stop',
    }),
  ]
}
