/** Pools of Ceph as they are asked for: the RBD images of a Ceph pool, or of a namespace in one. */
import { z } from 'zod'
import { resourceName } from './names.ts'

/** What Ceph calls a pool, a namespace or a user; no `/` and `@`, which part the names of images. */
const cephName = z
  .string()
  .max(100)
  .regex(/^[A-Za-z0-9_.][A-Za-z0-9_.-]*$/, 'is not a name of Ceph')

/** An address in figures, with a port where it is not the usual one. */
const monitor = z
  .string()
  .refine(isMonitor, 'is not the address of a monitor, such as 10.0.0.1, 10.0.0.1:6789 or [fd00::1]:3300')

const network = z.union([z.cidrv4(), z.cidrv6()]).meta({ description: 'A network such as 10.0.0.0/24.' })

/** The RBD images of a Ceph pool, which QEMU speaks to itself. */
export const newRbdPool = z.strictObject({
  type: z.literal('rbd'),
  name: resourceName,
  monitors: z.array(monitor).min(1).max(16),
  cephPool: cephName.meta({ description: 'The pool of Ceph; it must be there.' }),
  namespace: cephName.optional().meta({ description: 'A namespace in it; it must be there.' }),
  user: cephName.default('admin').meta({ description: 'The user of Ceph, without `client.`.' }),
  secret: resourceName
    .optional()
    .meta({ description: 'The secret with its cephx key, in base64 as Ceph shows it.' }),
  networks: z.array(network).max(16).default([]).meta({
    description:
      'Where the OSDs are, which VMs may connect to then; the networks of the monitors (/24, /64) unless said.',
  }),
  autostart: z.boolean().default(true),
  force: z
    .boolean()
    .default(false)
    .meta({ description: 'Take the pool although it is marked as the pool of another daemon.' }),
})

function isMonitor(text: string): boolean {
  const [, six, four, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const isAddress = six === undefined ? z.ipv4().safeParse(four).success : z.ipv6().safeParse(six).success
  return isAddress && (port === undefined || (Number(port) > 0 && Number(port) < 65_536))
}
