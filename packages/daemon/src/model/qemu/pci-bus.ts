/**
 * The PCI bus of one VM as QEMU's arguments: root ports, and the `bus` and `addr` of each device.
 *
 * Root ports get no window of I/O ports: there are only 64 KiB of them, which 16 bridges use up, and virtio 1.0 needs none.
 */
import { KvasirError } from '@kvasir/contract'
import { isBehindPort, pluggableAddress, portCount, portNumber } from '../pci/layout.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption } from './options.ts'

/** Where a device sits, as properties of `-device`. */
export interface PciPlace extends Readonly<Record<string, string>> {
  readonly bus: string
  readonly addr: string
}

export interface PciBus {
  /** The place of a device by its id. */
  place(id: string): PciPlace
  /** The arguments for the root ports; they come before every device. */
  readonly args: readonly string[]
  /** How many root ports there are. */
  readonly ports: number
}

/** The bus of a VM, from the addresses in its hardware. */
export function pciBus(input: Pick<HardwareInput, 'name' | 'spec' | 'hardware'>): PciBus {
  const behindPorts = input.spec.machine.type === 'q35'
  const ports = behindPorts ? portCount(input.hardware) : 0
  return {
    ports,
    args: rootPorts(ports),
    place(id) {
      const address = input.hardware.pci[id]
      if (address === undefined) {
        throw new KvasirError(
          'internal',
          `The device ${id} of VM ${input.name} has no PCI address, so it cannot be attached.`,
        )
      }
      if (behindPorts && isBehindPort(id, address)) {
        return { bus: `port${portNumber(address)}`, addr: '0x0' }
      }
      return { bus: 'pcie.0', addr: `0x${address.slot.toString(16)}.0x${address.function.toString(16)}` }
    },
  }
}

function rootPorts(count: number): readonly string[] {
  return Array.from({ length: count }, (_, number) => rootPort(number)).flat()
}

function rootPort(number: number): readonly string[] {
  const { slot, function: fn } = pluggableAddress('q35', number)
  return jsonOption('-device', {
    driver: 'pcie-root-port',
    id: `port${number}`,
    bus: 'pcie.0',
    addr: `0x${slot.toString(16)}.0x${fn.toString(16)}`,
    multifunction: fn === 0 ? true : undefined,
    chassis: number + 1,
    port: number,
    'io-reserve': 0,
  })
}
