/** What is to be done before a signal, or the end of the parent, ends this process. */

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const lookAtParentMs = 500

/**
 * Cleans up once when the process is to end by a signal, and then ends by that signal; no longer once disposed of. With `withParent` the
 * end of the parent, which may have had no time to tell, counts as SIGHUP.
 */
export function beforeEnd(
  cleanUp: () => Promise<void>,
  { withParent = false }: { readonly withParent?: boolean } = {},
): Disposable {
  const parent = process.ppid
  const onSignal = (signal: NodeJS.Signals) => {
    dispose()
    const end = () => process.kill(process.pid, signal)
    cleanUp().then(end, end)
  }
  const look = () => {
    if (process.ppid !== parent) onSignal('SIGHUP')
  }
  const timer = withParent ? setInterval(look, lookAtParentMs).unref() : undefined
  const dispose = () => {
    clearInterval(timer)
    for (const each of endings) process.off(each, onSignal)
  }
  for (const each of endings) process.on(each, onSignal)
  return { [Symbol.dispose]: dispose }
}
