/**
 * The handshake by which a client and the guest agent get in step.
 *
 * A 0xFF byte makes the agent drop a half-read command, and the agent sends one before its answer, so
 * that a client can drop half an old answer (QEMU's guest agent protocol reference, guest-sync-delimited).
 */
import { parseJsonLine } from './json-line.ts'

const delimiter = 0xff
/** An answer to the handshake is flat. */
const maxSyncDepth = 4

/** The command of the handshake. */
export const syncCommand = 'guest-sync-delimited'

/** The bytes that ask the agent to answer with `id`. */
export function syncRequest(id: number): Buffer {
  const text = JSON.stringify({ execute: syncCommand, arguments: { id } })
  return Buffer.concat([Buffer.of(delimiter), Buffer.from(`${text}\n`)])
}

/** Says whether a line is the answer to a handshake: behind its last 0xFF; what precedes it is left over. */
export function isSyncAnswer(line: Buffer, id: number): boolean {
  const start = line.lastIndexOf(delimiter)
  if (start === -1) return false
  try {
    return parseJsonLine(line.subarray(start + 1), maxSyncDepth)['return'] === id
  } catch {
    return false
  }
}
