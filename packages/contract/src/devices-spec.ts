/**
 * The devices of a VM that are not disks, NICs or memory: which there are, and what little there is to say of each.
 *
 * What a newer version added is absent in what an older one stored, and then is not there: no guest gets hardware by an upgrade.
 */
import { z } from 'zod'
import { byteSize } from './units.ts'

const slowestRng = 1024
const fastestRng = 2 ** 30

/** The watchdogs that a guest can have. */
const watchdogModels = ['i6300esb', 'itco'] as const
/** What the pointer of the display is. */
const pointers = ['ps2', 'usb', 'virtio'] as const

/** The devices of a spec. */
export const devicesSpec = z
  .strictObject({
    rng: z.boolean().default(true),
    rngBytesPerSecond: byteSize
      .refine(
        (bytes) => bytes >= slowestRng && bytes <= fastestRng,
        'is not between 1KiB and 1GiB, which a guest may take of entropy in a second',
      )
      .optional()
      .meta({ description: 'What the guest gets of entropy in a second; 64KiB unless said.' }),
    balloon: z.boolean().default(true).meta({ description: 'With free page reporting.' }),
    agent: z.boolean().default(true).meta({ description: 'The channel of the guest agent.' }),
    vnc: z.boolean().default(true).meta({ description: 'A VGA display, reached by VNC.' }),
    vsock: z.boolean().default(true).meta({ description: 'Where the host has /dev/vhost-vsock.' }),
    panic: z
      .boolean()
      .default(true)
      .meta({ description: 'pvpanic: the guest can say that its kernel panicked.' }),
    watchdog: z
      .boolean()
      .default(false)
      .meta({ description: 'lifecycle.onWatchdog says what happens when the guest leaves it alone.' }),
    watchdogModel: z
      .enum(watchdogModels)
      .optional()
      .meta({ description: 'i6300esb unless said; itco is part of the chipset of a q35.' }),
    usb: z.boolean().optional().meta({ description: 'A USB 3 controller (xHCI) of 16 ports.' }),
    pointer: z.enum(pointers).optional().meta({
      description:
        'ps2 is a mouse, and there unless another is; usb (with its controller) and virtio are tablets, which are where the pointer of the viewer is.',
    }),
    sound: z
      .boolean()
      .optional()
      .meta({ description: 'An HD Audio card; it is heard by VNC, and by nobody where nobody listens.' }),
    tpm: z.boolean().optional().meta({
      description:
        'A TPM 2.0, whose state stays with the VM: a clone has a new one, and going back to a snapshot of disks leaves it as it is.',
    }),
  })
  .refine(
    ({ rng, rngBytesPerSecond }) => rng || rngBytesPerSecond === undefined,
    'has rngBytesPerSecond, which only a VM with rng has',
  )
  .refine(
    ({ watchdog, watchdogModel }) => watchdog || watchdogModel === undefined,
    'has watchdogModel, which only a VM with a watchdog has',
  )
  .prefault({})
