/** What is to be done before a signal ends this process. */

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Cleans up once when the process is to end by a signal, and then ends by that signal; no longer once disposed of. */
export function beforeEnd(cleanUp: () => Promise<void>): Disposable {
  const onSignal = (signal: NodeJS.Signals) => {
    dispose()
    const end = () => process.kill(process.pid, signal)
    cleanUp().then(end, end)
  }
  const dispose = () => {
    for (const each of endings) process.off(each, onSignal)
  }
  for (const each of endings) process.on(each, onSignal)
  return { [Symbol.dispose]: dispose }
}
