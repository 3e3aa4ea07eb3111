/** What goes wrong with a monitor, in the errors of the port. */
import { KvasirError } from '@kvasir/contract'
import { QmpClosedError, QmpError, QmpTimeoutError } from '@kvasir/qmp'

/** An error of the monitor as `emulator-unresponsive` or `emulator-failed`; any other as it is. */
export function asPortError(error: unknown): unknown {
  if (error instanceof QmpTimeoutError || error instanceof QmpClosedError)
    return new KvasirError('emulator-unresponsive', `The emulator does not answer: ${error.message}`, {
      cause: error,
    })
  if (error instanceof QmpError)
    return new KvasirError('emulator-failed', `The emulator refused: ${error.message}`, { cause: error })
  return error
}
