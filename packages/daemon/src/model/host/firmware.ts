/** Firmware images by their descriptors. Format: QEMU's docs/interop/firmware.json; what is not of that form is left out. */
import type { HostFirmware } from '@kvasir/contract'
import { z } from 'zod'

const file = z.object({ filename: z.string() })

const descriptor = z.object({
  description: z.string().default(''),
  'interface-types': z.array(z.string()),
  mapping: z.discriminatedUnion('device', [
    z.object({ device: z.literal('flash'), executable: file, 'nvram-template': file.optional() }),
    z.object({ device: z.literal('kernel'), filename: z.string() }),
    z.object({ device: z.literal('memory'), filename: z.string() }),
  ]),
  targets: z.array(z.object({ architecture: z.string(), machines: z.array(z.string()) })),
  features: z.array(z.string()).default([]),
})

/** The images that these descriptors name, in their order. */
export function describeFirmware(
  descriptors: readonly { readonly path: string; readonly text: string }[],
  hasFile: (path: string) => boolean,
): HostFirmware[] {
  return descriptors.flatMap(({ path, text }) => {
    const parsed = descriptor.safeParse(parseJson(text))
    if (!parsed.success) return []
    const { mapping, description, targets, features } = parsed.data
    const executable = mapping.device === 'flash' ? mapping.executable.filename : mapping.filename
    const template = mapping.device === 'flash' ? mapping['nvram-template']?.filename : undefined
    return [
      {
        descriptor: path,
        description,
        interfaces: parsed.data['interface-types'],
        device: mapping.device,
        executable,
        ...(template === undefined ? {} : { nvramTemplate: template }),
        targets,
        features,
        installed: [executable, template].every((name) => name === undefined || hasFile(name)),
      },
    ]
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
