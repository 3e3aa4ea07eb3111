/** The process of the CLI: arguments in, exit code out; Ctrl-C aborts what is under way. Nothing is awaited at the top: a bundle may not. */
import { dispatch } from './dispatch.ts'

/** How long what was begun may take to end when nobody reads on. */
const endMs = 5_000

void main()

async function main(): Promise<void> {
  const interruption = new AbortController()
  process.once('SIGINT', () => interruption.abort(new DOMException('Interrupted.', 'AbortError')))
  process.once('SIGTERM', () => interruption.abort(new DOMException('Terminated.', 'AbortError')))
  let hasReader = true
  process.stdout.on('error', (error) => {
    if (!('code' in error && error.code === 'EPIPE')) process.exit(4)
    // A reader such as head may close early; that is no error of ours. What was begun for it is ended, as by Ctrl-C.
    hasReader = false
    interruption.abort(new DOMException('Nobody reads on.', 'AbortError'))
    setTimeout(() => process.exit(0), endMs).unref()
  })
  // The compile cache is this program's, not that of the editors, shells and daemons it starts.
  delete process.env['NODE_COMPILE_CACHE']

  const code = await dispatch(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    environment: process.env,
    signal: interruption.signal,
  })
  if (!hasReader) process.exit(0)
  // Idle connections are not waited for, what is printed is: a pipe whose reader is slow still holds some of it.
  await Promise.all([process.stdout, process.stderr].map(flushed))
  process.exit(code)
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.write('', () => resolve())
  return promise
}
