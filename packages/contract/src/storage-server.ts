/** A server of storage: an IPv4 or IPv6 address, or a name. */
import { z } from 'zod'

const address = z.union([z.ipv4(), z.ipv6()])
const name = z
  .string()
  .max(253)
  .regex(
    /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/,
    'is neither an address nor the name of a server',
  )

export const storageServer = z.union([address, name])
