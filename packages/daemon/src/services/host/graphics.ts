/** 3D for guests: the render node that a VM gets, why it cannot have one, and what a VM that has one cannot do. */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import type { Renderers } from '../../model/devices/describe-devices.ts'
import { chooseRenderNode } from '../../model/host/judge-graphics.ts'
import { hasDisplay } from '../../model/pci/layout.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

/** The render node that a start of this spec gets; undefined without 3D. `unsupported` where the host has none for it. */
export async function renderNodeFor(
  { name }: Pick<VmRecord, 'name'>,
  spec: VmSpec,
  ports: Pick<Ports, 'host'>,
): Promise<string | undefined> {
  const chosen = await choose(spec, ports)
  if (chosen === undefined || 'path' in chosen) return chosen?.path
  throw new KvasirError(
    'unsupported',
    `VM ${name} has 3D (display virtio-gl), so it cannot start here: ${chosen.refusal}`,
    { details: { field: 'devices.display' } },
  )
}

/** Why this host has no 3D for a spec that asks for it, as a clause; undefined where it has, or nobody asks. */
export async function lacks3d(spec: VmSpec, ports: Pick<Ports, 'host'>): Promise<string | undefined> {
  const chosen = await choose(spec, ports)
  return chosen !== undefined && 'refusal' in chosen ? chosen.refusal : undefined
}

/** `unsupported` for memory that cannot be written down: a part of it is in the GPU (QEMU: hw/display/virtio-gpu-base.c, "virgl is not yet migratable"). */
export function requireNo3d({ name, run }: Pick<VmRecord, 'name' | 'run'>, what: string): void {
  if (run?.bootedSpec.devices.display !== 'virtio-gl') return
  throw new KvasirError(
    'unsupported',
    `VM ${name} has 3D (display virtio-gl), and what its guest has in the GPU cannot be written down, so its memory is not ${what}.`,
    { details: { field: 'devices.display' } },
  )
}

/** Which GPUs VMs that run draw on; nothing is read where none does. */
export async function renderersAmong(
  records: readonly VmRecord[],
  { host }: Pick<Ports, 'host'>,
): Promise<Renderers> {
  const drawing = records.flatMap(({ name, run }) => {
    const path = run?.emulator.plan.ids.renderNode
    return path === undefined ? [] : [{ name, path }]
  })
  if (drawing.length === 0) return new Map()
  const { renderNodes } = await host.graphics()
  const byAddress = renderNodes.flatMap(({ address, path: node }) => {
    const names = drawing.filter(({ path }) => path === node).map(({ name }) => name)
    return address === undefined || names.length === 0 ? [] : [[address, names] as const]
  })
  return new Map(byAddress)
}

async function choose(spec: VmSpec, { host }: Pick<Ports, 'host'>) {
  if (!hasDisplay(spec) || spec.devices.display !== 'virtio-gl') return undefined
  return chooseRenderNode(spec.devices.renderNode, await host.graphics())
}
