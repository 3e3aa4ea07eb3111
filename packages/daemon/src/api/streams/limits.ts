/** The bounds of a WebSocket. */
export const streamLimits = {
  /** One message from a client: keys typed, text pasted, a VNC request. */
  messageBytes: 256 * 1024,
  /** What may wait to be sent before no more is read from the source. */
  unsentBytes: 512 * 1024,
  /** How long a client may leave all of that unread. */
  stallMs: 15_000,
  /** How often a silent client is asked for a sign of life; it has as long to give it. */
  pingMs: 20_000,
  /** How long a client may take over the closing handshake. */
  closeMs: 2_000,
  /** Stored events read at once. */
  eventBatch: 200,
} as const

/** Close codes of RFC 6455 and its registry. */
export const closeCodes = { done: 1000, goingAway: 1001, tryAgain: 1013, broken: 1011 } as const
