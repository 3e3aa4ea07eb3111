/** `kvasir vm send-key`: keys of the guest's keyboard, for what a viewer keeps to itself, such as ctrl-alt-delete. */
import { type KeyName, keyNames } from '@kvasir/contract/key-names'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { suggest } from '../suggest.ts'
import { UsageError } from '../usage-error.ts'

export const sendKeys: Action = async (context) => {
  const name = context.argument('NAME')
  const strokes = context.rest.map(parseStroke) // All are read before the first is pressed.
  for (const keys of strokes)
    await context.client.call(routes.sendKeys, { params: { name }, body: { keys }, signal: context.signal })
  return undefined
}

/** Keys that are pressed together: `ctrl-alt-f2`. Throws `UsageError` for a key that there is not. */
export function parseStroke(text: string): KeyName[] {
  return text.split('-').map((word) => {
    const found = keyNames.find((name) => name === word.toLowerCase())
    if (found !== undefined) return found
    const meant = suggest(word, keyNames)
    const advice = meant === undefined ? `Keys: ${keyNames.join(', ')}.` : `Did you mean ${meant}?`
    throw new UsageError(`There is no key ${JSON.stringify(word)}.`, advice)
  })
}
