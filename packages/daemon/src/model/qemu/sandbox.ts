/** QEMU's own system call filter with every deny that it has. The cage around the process is the wall; this is a second one. */

/** The arguments for the filter. */
export function sandboxArgs(): readonly string[] {
  return ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny']
}
