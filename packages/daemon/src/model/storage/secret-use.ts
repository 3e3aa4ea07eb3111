/**
 * A secret as part of a source: which one, and as what QEMU is to take it. What it is, is nobody's business here: the adapters put it
 * where an object of QEMU finds it (host/qemu/hand-secrets.ts), so that it is in no argument and in no log.
 */

/** One secret that a block node asks for. */
export interface SecretUse {
  readonly secretId: string
  /** `base64`: what is kept is the base64 form of it, as of a cephx key. */
  readonly format: 'raw' | 'base64'
}

/** A secret as an object of QEMU. */
export interface SecretObject extends SecretUse {
  /** The id of the object. */
  readonly object: string
}
