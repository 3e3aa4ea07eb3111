/** Parts of paths and query strings that several endpoints share. */
import { z } from 'zod'
import { resourceName } from './names.ts'

/** A path's `{name}`. */
export const byName = z.strictObject({ name: resourceName })

/** A number in a query string. */
export const queryInt = z.coerce.number().pipe(z.int().nonnegative())
/** A boolean in a query string. */
export const queryFlag = z.stringbool()

/** The query of what starts or shows a job. */
export const wait = z.strictObject({
  wait: queryInt
    .pipe(z.int().max(3600))
    .optional()
    .meta({ description: 'Seconds to hold the answer until the job has ended.' }),
})
