/** Revisions on the wire: the ETag of a VM is its revision, and If-Match names the one that a change is meant for. */
import { KvasirError } from '@kvasir/contract'

/** The ETag of a revision: `"12"`. */
export function etagOf(revision: number): string {
  return `"${revision}"`
}

/** The revision of an If-Match header; undefined when there is none or it is `*`. `bad-request` when it is not a revision. */
export function parseIfMatch(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '*') return undefined
  const match = /^\s*"(\d{1,15})"\s*$/.exec(header)
  if (match?.[1] === undefined)
    throw new KvasirError(
      'bad-request',
      'The If-Match header is not one revision in double quotes such as "12", so nothing was done.',
    )
  return Number(match[1])
}
