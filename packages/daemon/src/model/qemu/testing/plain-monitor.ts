/** For tests of command lines: QMP with nothing in between, so that a wrong client cannot hide a wrong QEMU. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const answerMs = 10_000

/** A monitor's connection: one command at a time. */
export interface Monitor {
  ask(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>
}

/** Connects and shakes hands; `undo` closes the connection. */
export async function openMonitor(
  path: string,
  { undo }: { readonly undo: AsyncDisposableStack },
): Promise<Monitor> {
  const socket = connect(path)
  undo.defer(() => {
    socket.destroy()
  })
  socket.setTimeout(answerMs, () => socket.destroy(new Error('The monitor does not answer.')))
  socket.on('error', () => {})
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  const next = async (): Promise<Record<string, unknown>> => {
    const line = await lines.next()
    assert.ok(line.done !== true, 'The monitor was closed.')
    return JSON.parse(line.value) as Record<string, unknown> // QMP's messages are objects.
  }
  assert.ok('QMP' in (await next()))
  const ask = async (execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> => {
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    for (;;) {
      const message = await next()
      assert.ok(!('error' in message), `${execute}: ${JSON.stringify(message['error'])}`)
      if ('return' in message) return message['return']
    }
  }
  await ask('qmp_capabilities')
  return { ask }
}
