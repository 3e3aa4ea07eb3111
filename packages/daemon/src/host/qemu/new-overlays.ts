/**
 * Overlays of disks of a running QEMU: opened one after another, which takes half a second where a passphrase is hashed, and then put on
 * all disks in one transaction. In between nothing of the guest has changed, so it need not wait for the first.
 */
import type { QmpClient } from '@kvasir/qmp'
import type { NewOverlay, OpenOverlays } from '../../ports/emulator-blocks.ts'
import { carriedActions } from './carry-bitmaps.ts'
import { forget } from './forget-layers.ts'
import { keyTimeoutMs, withSecret } from './hand-secrets.ts'
import { formatNode, layerKey, layerNames } from './layer-nodes.ts'
import { openLayer } from './open-layer.ts'
import type { QemuBlocksParts } from './qemu-blocks.ts'

type Parts = Pick<QemuBlocksParts, 'ask' | 'secrets' | 'user'>

/** Opens overlays that no disk has yet. */
export async function openOverlays(parts: Parts, overlays: readonly NewOverlay[]): Promise<OpenOverlays> {
  await using undo = new AsyncDisposableStack()
  for (const overlay of overlays) {
    const { format: node, file: fileNode } = layerNames(overlay.id)
    // What nobody could tell to close it closes when it is asked for again, or ends.
    undo.defer(() =>
      parts
        .ask((monitor) => forget(monitor, { node, fileNode }))
        .then(
          () => {},
          () => {},
        ),
    )
    await parts.ask((monitor) => openOverlay(monitor, overlay, parts))
  }
  const held = undo.move()
  return {
    async layOver() {
      const waitedMs = await parts.ask((monitor) => layOver(monitor, overlays))
      held.move() // They are the disks' own now.
      return { waitedMs }
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

async function openOverlay(monitor: QmpClient, overlay: NewOverlay, { secrets, user }: Parts): Promise<void> {
  const names = layerNames(overlay.id)
  await openLayer(monitor, { ...overlay, names, access: 'read-write', user })
  const { options } = overlay
  const node = formatNode(names.format, {
    driver: 'qcow2',
    file: names.file,
    backing: null,
    readOnly: false,
    options,
  })
  await withSecret(monitor, layerKey(names.format, options), {
    values: secrets,
    open: () => monitor.execute('blockdev-add', node, { timeoutMs: keyTimeoutMs }),
  })
}

/** Answers how long the disks waited at most, in milliseconds. */
async function layOver(monitor: QmpClient, overlays: readonly NewOverlay[]): Promise<number> {
  const ways = overlays.map(({ id, over }) => ({ from: over.node, to: layerNames(id).format }))
  const carried = await carriedActions(monitor, ways)
  const startedAt = performance.now()
  await monitor.execute('transaction', {
    actions: [
      // First: they hold the disks' requests until all is done.
      ...ways.map(({ from, to }) => ({
        type: 'blockdev-snapshot' as const,
        data: { node: from, overlay: to },
      })),
      ...carried,
    ],
  })
  return performance.now() - startedAt
}
