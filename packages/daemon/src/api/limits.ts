/** The bounds of the API: what one client can cost the daemon. */
export const apiLimits = {
  /** A request's body. */
  bodyBytes: 4 * 1024 * 1024,
  /** Nesting of arrays and objects in a body; `JSON.parse` of a deep text would hold the event loop. */
  bodyDepth: 64,
  /** The request line and all headers. */
  headerBytes: 32 * 1024,
  headerCount: 100,
  /** From the first byte of a connection to the end of the headers. */
  headersTimeoutMs: 10_000,
  /** From the first byte of a request to the last byte of its body. */
  requestTimeoutMs: 60_000,
  /** How often the two above are looked at. */
  timeoutCheckMs: 2000,
  keepAliveTimeoutMs: 30_000,
  /** Open connections of one listener; more are closed unanswered. */
  connections: 1024,
  /** Requests whose handlers run; more are answered `too-many-requests`. */
  requestsInFlight: 1024,
  /** Open WebSockets. */
  streams: 512,
  idempotencyKeyLength: 255,
  /** Invalid fields that an error's sentence names; the rest is counted. */
  namedIssues: 12,
} as const
