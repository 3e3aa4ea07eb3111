/** For tests: a simulated host with an IOMMU and NICs with SR-IOV, and a network of their virtual functions. */
import { type NewNetworkInput, newNetwork, type VmSpecInput } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from './simulated-daemon.ts'

const pfAddresses = { eth0: '0000:02:00.0', eth1: '0000:03:00.0' } as const
/** The address of a virtual function. */
export function vfOf(pf: keyof typeof pfAddresses, number: number): string {
  return `${pfAddresses[pf].slice(0, 8)}10.${number}`
}

function device(
  address: string,
  more: { readonly pf?: string; readonly interfaces?: readonly string[] } = {},
) {
  return {
    address,
    classCode: '020000',
    className: 'Ethernet controller',
    vendorId: '8086',
    deviceId: '10c9',
    iommuGroup: Number.parseInt(address.slice(5, 7), 16) * 100 + Number(address.at(-1)) + (more.pf ? 10 : 0),
    interfaces: more.interfaces ?? [],
    isUp: false,
    vfs: [],
    resetMethods: ['flr'],
    isBootDisplay: false,
    physicalFunction: more.pf,
    disks: [],
    links: (more.interfaces ?? []).map((link) => ({ link, isUp: true, hasDefaultRoute: false })),
    ...(more.pf === undefined ? { totalVfs: 7 } : {}),
  }
}

/** A host with an IOMMU, two physical functions and so many virtual functions of each. */
export async function openSriovHost(
  vfsEach: number,
  options: Parameters<typeof openSimulatedDaemon>[0] = {},
): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon(options)
  const numbers = Array.from({ length: vfsEach }, (_, number) => number)
  const pfs = Object.entries(pfAddresses).map(([pf, address]) => ({
    pf: pf as keyof typeof pfAddresses,
    address,
  }))
  const links = pfs.map(({ pf }) => ({
    name: pf,
    kind: undefined,
    mac: undefined,
    mtu: 1500,
    bridge: undefined,
  }))
  const pci = pfs.flatMap(({ pf, address }) => [
    device(address, { interfaces: [pf] }),
    ...numbers.map((number) => device(vfOf(pf, number), { pf: address })),
  ])
  const groups = pci.map(({ iommuGroup, address }) => ({
    group: iommuGroup,
    devices: [address],
    hasDirectRegion: false,
  }))
  world.machine.hostNetwork = {
    links: [...links, { name: 'wlan0', kind: undefined, mac: undefined, mtu: 1500, bridge: undefined }],
    addresses: [],
    routes: [],
    pfs: pfs.map(({ pf, address }) => {
      const vfs = numbers.map((number) => ({ address: vfOf(pf, number), interfaces: [] }))
      return { pf, address, isUp: true, totalVfs: 7, vfs }
    }),
  }
  world.machine.devices = { ...world.machine.devices, pci, iommu: { ...world.machine.devices.iommu, groups } }
  return world
}

/** The network fast, of both. */
export function createFast(world: SimulatedDaemon, wanted: Partial<NewNetworkInput> = {}) {
  const sriov = { pfs: ['eth0', 'eth1'], vlan: 42 }
  return world.call('createNetwork', {
    body: newNetwork.parse({ name: 'fast', mode: 'sriov', sriov, ...wanted }),
  })
}

/** A VM with one NIC on it. */
export async function createFastVm(
  world: SimulatedDaemon,
  name: string,
  nic: Partial<NonNullable<VmSpecInput['nics']>[number]> = {},
) {
  await world.createVm(name, { nics: [{ name: 'net0', network: 'fast', ...nic }] })
}

/** The virtual functions that a VM has. */
export async function vfsOf(world: SimulatedDaemon, name: string) {
  return (await world.vm(name)).status.vfs
}

/** What `echo 0 >sriov_numvfs` does: the host has none of these any more. */
export function takeVfs({ machine }: SimulatedDaemon, pf: keyof typeof pfAddresses): void {
  const { devices, hostNetwork } = machine
  const left = devices.pci.filter((one) => one.physicalFunction !== pfAddresses[pf])
  machine.devices = { ...devices, pci: left }
  machine.hostNetwork = {
    ...hostNetwork,
    pfs: hostNetwork.pfs?.map((one) => (one.pf === pf ? { ...one, vfs: [] } : one)),
  }
}
