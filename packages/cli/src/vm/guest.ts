/** What comes out of a guest: its log, its display, the output of a command. */
import { writeFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { stripVTControlCharacters } from 'node:util'
import { exitCodes, KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'

export const printLog: Action = async (context) => {
  const source = context.choice('source', ['serial', 'emulator'])
  const bytes = context.value('bytes')
  const query = { ...(source === undefined ? {} : { source }), ...(bytes === undefined ? {} : { bytes }) }
  const params = { name: context.argument('NAME') }
  const log = await context.client.call(routes.logVm, { params, query, signal: context.signal })
  // What the guest once asked its terminal would be asked again, also behind a pipe, and the answers typed into the shell.
  const shown = stripVTControlCharacters(log)
  await context.output.result(log, () => (shown === '' || shown.endsWith('\n') ? shown : `${shown}\n`))
  return undefined
}

export const saveScreenshot: Action = async (context) => {
  const name = context.argument('NAME')
  const file = context.optional('FILE') ?? `${name}.png`
  const png = await context.client.call(routes.screenshotVm, { params: { name }, signal: context.signal })
  if (file === '-') {
    context.output.stdout.write(png)
    return undefined
  }
  try {
    await writeFile(file, png)
  } catch (cause) {
    throw new KvasirError('host-failed', `File ${file} cannot be written, so the screenshot is not kept.`, {
      cause,
    })
  }
  context.output.message(`The display of VM ${name} is in ${file}.`)
  return undefined
}

/** How much longer than the command the answer may take, in milliseconds. */
const answerGraceMs = 10_000
const defaultTimeoutSeconds = 60

/** Shells give 128 plus the signal's number. */
const signalBase = 128

/** Stdin is read only when that is asked for: a pipe that nobody closes would keep the command from beginning. */
async function inputOf(context: Context): Promise<{ input?: string }> {
  return context.has('stdin') ? { input: await text(process.stdin) } : {}
}

export const execInGuest: Action = async (context) => {
  const { client, output, signal } = context
  const timeoutSeconds = context.number('timeout') ?? defaultTimeoutSeconds
  const result = await client.call(routes.execVm, {
    params: { name: context.argument('NAME') },
    body: { command: [...context.rest], timeoutSeconds, ...(await inputOf(context)) },
    timeoutMs: timeoutSeconds * 1000 + answerGraceMs,
    signal,
  })
  if (output.format === 'table') {
    output.stdout.write(result.stdout)
    output.stderr.write(result.stderr)
    if (result.truncated) output.message('The output was longer than is kept; its end is missing.')
  } else await output.result(result, () => '')
  if (result.signal !== undefined) return signalBase + result.signal
  return result.exitCode ?? exitCodes.refused
}
