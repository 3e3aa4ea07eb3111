/** The schema of the problem document, and with it everything of the error table. */
import { z } from 'zod'
import { type ErrorCode, errorTable } from './error-table.ts'

export * from './error-table.ts'

const errorCodes = Object.keys(errorTable) as [ErrorCode, ...ErrorCode[]] // The keys of a closed table.

/** An RFC 9457 problem document; `detail` is the sentence, `code` the row of the table. */
export const problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(errorCodes),
    detail: z.string(),
    details: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'Problem' })
