/**
 * The devices of a VM that are not disks, NICs or memory: which there are, and what little there is to say of each.
 *
 * What a newer version added is absent in what an older one stored, and then is not there: no guest gets hardware by an upgrade.
 */
import { z } from 'zod'
import { channelNames } from './channel-spec.ts'
import { byteSize } from './units.ts'

const slowestRng = 1024
const fastestRng = 2 ** 30

/** The watchdogs that a guest can have. */
const watchdogModels = ['i6300esb', 'itco'] as const
/** The cards of a display. */
const displays = ['vga', 'virtio', 'virtio-gl'] as const
/** A render node of the host, by its path or by the PCI address of its GPU. */
const renderNodePattern = /^(\/dev\/dri\/renderD\d{1,3}|[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])$/
/** The USB devices of viewers that a VM can have at one time. */
const mostRedirects = 4
/** What the pointer of the display is. */
const pointers = ['ps2', 'usb', 'virtio'] as const

/** What the keyboard is. */
const keyboards = ['ps2', 'usb', 'virtio'] as const

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
    channels: channelNames.optional().meta({
      description:
        'Ports by which a program in the guest and one outside speak, by name: /dev/virtio-ports/NAME.',
    }),
    vnc: z.boolean().default(true).meta({ description: 'A display, reached by VNC.' }),
    display: z.enum(displays).optional().meta({
      description:
        'The card of the display. vga unless said, for which every guest has a driver; virtio has the size that the viewer asks for, once the guest has its driver; virtio-gl is that with 3D (OpenGL by VirGL), on a render node of the host.',
    }),
    renderNode: z
      .string()
      .regex(
        renderNodePattern,
        'is not a render node such as /dev/dri/renderD128, nor the PCI address of a GPU such as 0000:03:00.0',
      )
      .optional()
      .meta({ description: 'What renders the 3D of a virtio-gl; the first of the host unless said.' }),
    spice: z.boolean().optional().meta({
      description: 'The display is reached by SPICE too, with a password that is given for a short time.',
    }),
    usbRedirects: z
      .int()
      .min(0)
      .max(mostRedirects)
      .optional()
      .meta({ description: 'How many USB devices can come from who looks by SPICE; 2 unless said.' }),
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
    keyboard: z.enum(keyboards).optional().meta({
      description:
        'ps2 is part of a q35 and stays beside another, which gets the keys: usb at once, virtio once the guest has its driver. A microvm has none unless said.',
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
  .refine(
    ({ spice, usbRedirects }) => spice || usbRedirects === undefined,
    'has usbRedirects, which only a VM with spice has',
  )
  .refine(
    ({ vnc, spice, display }) => vnc || spice || display === undefined,
    'has a display, which only a VM with vnc or spice has',
  )
  .refine(
    ({ display, renderNode }) => display === 'virtio-gl' || renderNode === undefined,
    'has renderNode, which only a VM with the display virtio-gl has',
  )
  .prefault({})
