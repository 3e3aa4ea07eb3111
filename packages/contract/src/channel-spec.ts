/**
 * Channels: ports of the VM's virtio-serial controller, each a pair of byte streams between a program in the guest and one outside, told apart
 * by name. A guest of Linux finds one as /dev/virtio-ports/NAME.
 */
import { z } from 'zod'

/** The controller has 31 ports, some of which are the agents' (QEMU: hw/char/virtio-serial-bus.c). */
const mostChannels = 16
const longestName = 64
/** The names of channels that VMs have by other devices: those by which agents in guests look for them. */
const takenNames: Readonly<Record<string, string>> = {
  'org.qemu.guest_agent.0': 'agent',
  'com.redhat.spice.0': 'spice',
}

/** The name of a channel. */
export const channelName = z
  .string()
  .max(longestName, `has more than ${longestName} characters`)
  .regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/,
    'has to be letters, digits, dots, dashes and underscores, with a letter or digit at both ends',
  )
  .meta({ description: 'Such as org.example.app.0.' })

/** The channels of a VM. */
export const channelNames = z
  .array(
    channelName.refine((name) => !Object.hasOwn(takenNames, name), {
      error: ({ input }) =>
        `is the channel of devices.${takenNames[String(input)]}, so no other has its name`,
    }),
  )
  .max(mostChannels, `has more than ${mostChannels} channels, which is what a VM can have`)
  .refine((names) => new Set(names).size === names.length, 'names a channel twice')
