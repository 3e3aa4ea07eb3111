/** Secrets: keys and passphrases that storage asks for. What one is goes in and never comes out; here is what may be known of it. */
import { z } from 'zod'
import { resourceName } from './names.ts'
import { timestamp } from './units.ts'

/** The longest secret, in bytes of UTF-8. */
export const maxSecretBytes = 4096

export const secret = z
  .strictObject({
    name: resourceName,
    createdAt: timestamp,
    usedBy: z.array(z.string()).meta({ description: 'Who needs it, such as `pool ceph1`.' }),
  })
  .meta({
    id: 'Secret',
    description: 'A secret without its value, which no endpoint gives.',
  })

export type Secret = z.output<typeof secret>

const value = z
  .string()
  .min(1)
  .refine(
    (text) => new TextEncoder().encode(text).length <= maxSecretBytes,
    `is longer than ${maxSecretBytes} bytes`,
  )
  .refine((text) => !text.includes('\0'), 'holds a NUL, which nothing that asks for a secret takes')
  .meta({ description: 'Taken byte by byte, a line break at its end too. It is never shown again.' })

/** Another value for a secret. */
export const secretValue = z.strictObject({ value })

export type SecretValue = z.output<typeof secretValue>

/** A secret as it is given: what it is, or that one is to be made. */
export const newSecret = z
  .strictObject({
    name: resourceName,
    value: value.optional(),
    generate: z
      .literal(true)
      .optional()
      .meta({ description: 'Make one of 256 random bits, which nobody ever sees.' }),
  })
  .refine(
    (asked) => (asked.value === undefined) !== (asked.generate === undefined),
    'needs either a value or generate',
  )

export type NewSecret = z.output<typeof newSecret>
