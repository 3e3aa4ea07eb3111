/** What the QEMU at hand can do. */
export interface QemuCapabilities {
  readonly version: readonly [major: number, minor: number, micro: number]
  readonly machines: readonly string[]
  /** Classes of devices and character devices that it can make; absent where that is not known. */
  readonly types?: readonly string[] | undefined
}
