/**
 * What things may be called. A name is a label that a person chose: it never becomes a path, an option or a part of a query by
 * itself; ids made by the daemon do.
 */
import { z } from 'zod'

/** A name of a VM, image, volume or device: starts with a letter or digit, then letters, digits, dot, dash, underscore; at most 63. */
export const resourceName = z
  .string()
  .regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
    'is not a name; use 1 to 63 letters, digits, dots, dashes and underscores, beginning and ending with a letter or digit',
  )

/** An id made by the daemon: a UUID. */
export const uuid = z.uuid()

/** A MAC address of a NIC: unicast, lower case. */
export const macAddress = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/, 'is not a unicast MAC address such as 52:54:00:12:34:56')

/** The name of a link of the host. */
export const linkName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/,
    'is not the name of a link: 1 to 15 letters, digits, dots, dashes and underscores',
  )
  .refine((name) => name !== 'all' && name !== 'default', 'is a word that the kernel keeps for itself')

/** A SHA-256 digest in hexadecimal. */
export const sha256 = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f]{64}$/, 'is not a SHA-256 digest of 64 hexadecimal digits')

/** An absolute path on the host, without NUL and without `..`. */
export const hostPath = z
  .string()
  .max(4096)
  .regex(/^\/[^\0\n]*$/, 'is not an absolute path')
  .refine((path) => !path.split('/').includes('..'), 'may not contain ..')
