/**
 * A host read from files instead of asked of a daemon: what `--root` names is a captured tree of /sys and /proc, or `/` itself.
 *
 * The readers and the daemon's judgements are imported where they are used, so that no other command loads them: the bundle of the
 * command line leaves them out. Not here: how files are read (@kvasir/linux) and what they mean (@kvasir/daemon/model/host).
 */
import type { Host, HostDevice, HostTopology } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'

/** What a captured tree tells; the rest only the host itself could. */
export type CapturedHost = Omit<Host, 'hostname' | 'accelerator' | 'qemu' | 'vsock'>

/** The topology in a tree. Throws `file-not-found` when there is none. */
export async function readCapturedTopology(root: string): Promise<HostTopology> {
  const { readTopology } = await import('@kvasir/linux/topology')
  const topology = await readTopology(await openCapture(root))
  if (topology === undefined) throw noHost(root)
  return topology
}

/** What a tree tells of a host. Throws `file-not-found` when no kernel described itself in it. */
export async function readCapturedHost(root: string): Promise<CapturedHost> {
  const { readHost } = await import('@kvasir/linux/host-reading')
  const { describeHost } = await import('@kvasir/daemon/model/host/describe-host')
  const reading = readHost(await openCapture(root))
  if (reading === undefined) throw noHost(root)
  return describeHost(reading)
}

/** The devices in a tree, which no VM has. */
export async function readCapturedDevices(root: string): Promise<readonly HostDevice[]> {
  const { readHostDevices } = await import('@kvasir/linux/device-reading')
  const { describeDevices } = await import('@kvasir/daemon/model/devices/describe-devices')
  const { judgeIommu } = await import('@kvasir/daemon/model/host/judge-iommu')
  const reading = readHostDevices(await openCapture(root))
  const { iommu: files, kernelOptions, pci: pciDevices } = reading
  return describeDevices(reading, judgeIommu({ files, kernelOptions, pciDevices }), { holders: new Map() })
}

/** What a tree tells of the memory of a host. Throws `file-not-found` when no kernel described itself in it. */
export async function readCapturedMemory(root: string): Promise<Host['memory']> {
  return (await readCapturedHost(root)).memory
}

async function openCapture(root: string) {
  const { DirectoryTree } = await import('@kvasir/linux/host-tree')
  try {
    return new DirectoryTree(root)
  } catch (cause) {
    throw new KvasirError(
      'file-not-found',
      `${root} is not a directory that can be read, so no host is in it.`,
      { details: { path: root }, cause },
    )
  }
}

function noHost(root: string): KvasirError {
  return new KvasirError(
    'file-not-found',
    `${root} holds no CPU in sys/devices/system/cpu, so it is not a captured host.`,
    { details: { path: root } },
  )
}
