/** The contents of a volume as what an endpoint takes or answers: streams, of which a schema knows no more than that. */
import { z } from 'zod'
import type { ReceivedContents, SentContents } from './contents.ts'

/** The body of an endpoint that takes contents. */
export const receivedContents = z.custom<ReceivedContents>(
  (value) => typeof value === 'object' && value !== null && Symbol.asyncIterator in value,
  'is no stream of contents',
)
/** The answer of an endpoint that sends contents. */
export const sentContents = z.custom<SentContents>((value) => typeof value === 'object' && value !== null)
