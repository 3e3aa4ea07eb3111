/** The key that leaves a console: Ctrl-], as in telnet and virsh. */

/** The byte that a terminal sends for Ctrl-]. */
const detachByte = 0x1d

/** What of the typed bytes is for the guest, and whether the detach key followed; what comes after it is dropped. */
export function splitAtDetach(bytes: Buffer): { readonly forGuest: Buffer; readonly detached: boolean } {
  const at = bytes.indexOf(detachByte)
  if (at < 0) return { forGuest: bytes, detached: false }
  return { forGuest: bytes.subarray(0, at), detached: true }
}
