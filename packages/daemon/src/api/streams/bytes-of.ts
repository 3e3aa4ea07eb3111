import type { RawData } from 'ws'

/** The bytes of a WebSocket message, in whichever of its forms ws gives it. */
export function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data)
  return Buffer.isBuffer(data) ? data : Buffer.from(data)
}
