/** `kvasir event watch`: a line per event; with `-o json` a JSON object per line, with `-o yaml` a document per event. */
import type { Event } from '@kvasir/contract'
import type { Action } from '../command.ts'
import { printable } from '../output/width.ts'

export const watchEvents: Action = async (context) => {
  const { client, output, signal } = context
  const after = context.number('after')
  const count = context.number('count')
  let isCut = false
  const onReconnect = (): void => {
    if (!isCut) output.message('The connection was cut; going on where it stopped once the daemon answers.')
    isCut = true
  }
  let seen = 0
  for await (const event of client.events({ after, signal, onReconnect })) {
    isCut = false
    output.stdout.write(await lineOf(event, output.format))
    seen++
    if (seen === count) break
  }
  return undefined
}

async function lineOf(event: Event, format: 'table' | 'json' | 'yaml'): Promise<string> {
  switch (format) {
    case 'json':
      return `${JSON.stringify(event)}\n`
    case 'yaml': {
      const { stringify } = await import('yaml')
      return `---\n${stringify(event)}`
    }
    case 'table':
      return eventLine(event)
  }
}

/** An event for people: number, time, kind, subject, and its data as words. */
export function eventLine(event: Event): string {
  const data = Object.entries(event.data).map(([key, value]) => {
    return `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`
  })
  return `${printable([event.seq, event.at, event.kind, event.subject, ...data].join(' '))}\n`
}
