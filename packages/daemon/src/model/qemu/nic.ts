/**
 * NICs: virtio-net, today on user-mode networking through passt, which speaks Ethernet frames over a UNIX socket that is connected
 * before either of the two is started. Other modes will choose another `-netdev` here.
 */
import { KvasirError, type NicSpec } from '@kvasir/contract'
import { macFor } from '../vm/mac.ts'
import type { BuildContext } from './build-context.ts'
import type { EmulatorPlan, UserNicPlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { jsonOption } from './options.ts'

/** The arguments, helpers and ids of all NICs of a VM. */
export interface NicsPlan {
  readonly args: readonly string[]
  readonly userNics: readonly UserNicPlan[]
  readonly ids: EmulatorPlan['ids']['nics']
}

/** The network back ends and devices of the VM's NICs, in the order of their names. */
export function nicArgs(context: BuildContext): NicsPlan {
  const { input, bus, descriptors } = context
  const args: string[] = []
  const userNics: UserNicPlan[] = []
  const ids: Record<string, EmulatorPlan['ids']['nics'][string]> = {}
  const nics = [...input.spec.nics].sort((a, b) => (a.name < b.name ? -1 : 1))
  const macs = new Set<string>()
  for (const nic of nics) {
    const plan = userNic(input, nic)
    if (macs.has(plan.mac)) {
      throw new KvasirError(
        'bad-request',
        `VM ${input.name} has two NICs with the MAC address ${plan.mac}, so it cannot start.`,
      )
    }
    macs.add(plan.mac)
    userNics.push(plan)
    const device = deviceId('nic', nic.name)
    const netdev = deviceId('net', nic.name)
    ids[nic.name] = { device, netdev }
    args.push(
      ...jsonOption('-netdev', {
        type: 'stream',
        id: netdev,
        server: false,
        addr: { type: 'fd', str: String(descriptors.add({ kind: 'nic', nic: nic.name })) },
      }),
      ...jsonOption('-device', {
        driver: 'virtio-net-pci',
        id: device,
        ...bus.place(device),
        'disable-legacy': 'on',
        netdev,
        mac: plan.mac,
        // Nothing boots from the network yet, and loading the ROM takes time.
        romfile: '',
      }),
    )
  }
  return { args, userNics, ids }
}

function userNic(input: HardwareInput, nic: NicSpec): UserNicPlan {
  return {
    nic: nic.name,
    mac: nic.mac ?? macFor(input.uuid, nic.name),
    forwards: nic.forwards,
  }
}
