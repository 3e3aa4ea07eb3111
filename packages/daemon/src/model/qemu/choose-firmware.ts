/**
 * Which UEFI image a VM gets of those that the host has, by their descriptors (QEMU: docs/interop/firmware.json): the first that fits, as
 * for libvirt.
 */
import type { HostFirmware } from '@kvasir/contract'

/** What a VM boots by: the image, and what its variables are at first. */
export interface FirmwareImage {
  readonly executable: string
  readonly template: string
}

/** What is asked of an image. */
export interface FirmwareWish {
  /** The versioned machine type. */
  readonly machine: string
  readonly secureBoot: boolean
  /** The image that the VM has been booted by; its variables fit no other. */
  readonly executable?: string | undefined
}

/** The image for a VM; undefined where the host has none. */
export function chooseFirmware(
  images: readonly HostFirmware[],
  wish: FirmwareWish,
): FirmwareImage | undefined {
  for (const { executable, nvramTemplate: template, ...image } of images) {
    if (!image.installed || template === undefined || !isFitting(image, wish)) continue
    if (wish.executable === undefined || wish.executable === executable) return { executable, template }
  }
  return undefined
}

function isFitting(
  image: Pick<HostFirmware, 'interfaces' | 'device' | 'targets' | 'features'>,
  { machine, secureBoot }: FirmwareWish,
): boolean {
  const { interfaces, device, targets, features } = image
  const target = targets.find(({ architecture }) => architecture === 'x86_64')
  if (!interfaces.includes('uefi') || device !== 'flash' || target === undefined) return false
  // Keys that are enrolled switch secure boot on; system management mode keeps the guest from changing them.
  const has = (feature: string) => features.includes(feature)
  const isSecure = has('secure-boot') && has('enrolled-keys') && has('requires-smm')
  const isPlain = !has('enrolled-keys') && !has('requires-smm')
  return target.machines.some((pattern) => isLike(machine, pattern)) && (secureBoot ? isSecure : isPlain)
}

/** Machines are given as a pattern of glob(7), such as `pc-q35-*`. */
function isLike(machine: string, pattern: string): boolean {
  const parts = pattern.split('*').map((part) => RegExp.escape(part))
  return new RegExp(`^${parts.join('.*')}$`).test(machine)
}
