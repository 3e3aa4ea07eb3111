/**
 * Shares: folders of the host as file systems of the guest, by virtiofs. Each is served by a process of its own (host/qemu/share-helper.ts)
 * that reads and writes the guest's memory, so that has to be shared (the contract sees to it), and QEMU only introduces the two to each
 * other (QEMU: docs/interop/vhost-user.rst, hw/virtio/vhost-user-fs.c). QEMU does not answer before that process does, also when one is plugged.
 */
import type { VmSpec } from '@kvasir/contract'
import type { BuildContext } from './build-context.ts'
import type { QemuOptions } from './disk-plan.ts'
import type { EmulatorPlan, SharePlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'

/** Requests that the guest may have under way: the most that QEMU allows, as virtiofs mounts under load want. */
const queueSize = 1024

/** The id of a share's device, and of its socket in QEMU. */
export function shareId(name: string): string {
  return deviceId('fs', name)
}

/** A share that is plugged while the guest runs. */
export interface PluggedShare {
  readonly share: SharePlan
  readonly device: QemuOptions & { readonly driver: string; readonly id: string }
}

/** One share of a spec, as the next boot would make it. */
export function planShare(
  input: Pick<HardwareInput, 'name' | 'spec' | 'hardware' | 'virtiofsd'>,
  name: string,
): PluggedShare {
  const share = sharePlans(input).shares?.find((one) => one.share === name)
  if (!share) throw new TypeError(`There is no share ${name} in the spec.`)
  return { share, device: deviceOf(name, pciBus(input)) }
}

/** The arguments for the shares, in the order of their names. */
export function shareArgs({ input, descriptors, bus }: BuildContext): readonly string[] {
  return sharesOf(input.spec).flatMap(({ name }) => [
    '-chardev',
    `socket,id=${shareId(name)},fd=${descriptors.add({ kind: 'share', share: name })}`,
    ...jsonOption('-device', deviceOf(name, bus)),
  ])
}

function deviceOf(name: string, bus: PciBus): PluggedShare['device'] {
  const id = shareId(name)
  return {
    driver: 'vhost-user-fs-pci',
    id,
    ...bus.place(id),
    chardev: id,
    tag: name,
    'queue-size': queueSize,
  }
}

/** What the processes need that serve them. */
export function sharePlans({
  spec,
  virtiofsd = '',
}: Pick<HardwareInput, 'spec' | 'virtiofsd'>): Pick<EmulatorPlan, 'shares'> {
  const shares = sharesOf(spec).map(({ name, folder, readOnly }) => ({
    share: name,
    folder,
    readOnly,
    program: virtiofsd,
  }))
  return shares.length === 0 ? {} : { shares }
}

function sharesOf({ shares }: VmSpec): VmSpec['shares'] {
  return [...shares].sort((a, b) => (a.name < b.name ? -1 : 1))
}
