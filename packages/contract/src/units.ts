/** Schemas of sizes and moments: bytes everywhere inside, words such as `2GiB` at the edge. */
import { z } from 'zod'
import { parseBytes } from './size.ts'

export * from './size.ts'

/** A size in a request: bytes as a safe integer, or a string with a unit. Comes out as bytes. */
export const byteSize = z
  .union([z.number(), z.string().max(40)])
  .transform((value, ctx) => {
    const bytes = typeof value === 'number' ? value : parseBytes(value)
    if (bytes === undefined || !Number.isSafeInteger(bytes) || bytes < 0) {
      ctx.addIssue({
        code: 'custom',
        message: 'is not a size; write bytes or a number with KiB, MiB, GiB or TiB, such as 2GiB',
      })
      return z.NEVER
    }
    return bytes
  })
  .pipe(z.int().nonnegative())
  .meta({ description: 'Bytes, or a number with a unit such as 2GiB, 2048MiB or 2G (powers of 1024).' })

/** A size in an answer: bytes. */
export const bytes = z.int().nonnegative().meta({ description: 'Bytes.' })

/** A moment: ISO 8601 with a zone. */
export const timestamp = z.iso.datetime({ offset: true })
