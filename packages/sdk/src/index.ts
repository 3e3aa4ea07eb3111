/** The typed client of Kvasir's API. Loads without zod and without a WebSocket library until one is needed. */
export * from './address.ts'
export * from './client.ts'
export * from './console-scrollback.ts'
export type * from './contents.ts'
export type * from './events.ts'
export type * from './message-socket.ts'
export * from './wait-for-job.ts'
