/** Files of layers that a running QEMU is given: opened here, since it sees no path. */
import type { QmpClient } from '@kvasir/qmp'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'
import { fileNode } from './layer-nodes.ts'
import { passFile } from './pass-file.ts'

/** Hands over the file of a layer and makes its node. */
export async function openLayer(
  monitor: QmpClient,
  {
    path,
    names,
    access,
    options,
    user,
  }: {
    readonly path: string
    readonly names: { readonly file: string }
    readonly access: 'read' | 'read-write'
    readonly options: LayerOptions
    readonly user: number
  },
): Promise<void> {
  const guarded = options.guarded ? { guarded: true as const } : {}
  const file = { kind: 'file' as const, path, access, direct: options.direct, ...guarded }
  const fileName = await passFile(monitor, { file, label: names.file, user })
  await monitor.execute(
    'blockdev-add',
    fileNode(names.file, { fileName, readOnly: access === 'read', options }),
  )
}
