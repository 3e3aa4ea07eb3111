/**
 * What the machine around the lab and the agent inside say to each other: one JSON object a line, over a virtio-serial port.
 *
 * A `hello` begins a session; what it runs ends with it, at the latest when the next one begins. Ids are chosen by the side that asks and
 * are its own. Bytes are base64.
 */

/** How many ports the lab has: so many can talk to it at once. */
export const agentPorts = 4
/** The name of a port, by its number. */
export const agentPortName = (port: number) => `kvasir.lab.agent.${port}`

/** From outside to the agent. */
export type Request =
  | { readonly op: 'hello'; readonly session: string }
  | {
      readonly op: 'run'
      readonly id: number
      readonly argv: readonly [string, ...string[]]
      readonly cwd: string
      readonly env: Readonly<Record<string, string>>
    }
  /** Bytes for its stdin; without bytes, the end of them. */
  | { readonly op: 'in'; readonly id: number; readonly bytes?: string }
  | { readonly op: 'signal'; readonly id: number; readonly signal: string }

/** From the agent. */
export type Reply =
  | { readonly op: 'hello'; readonly session: string; readonly uptimeSeconds: number }
  | { readonly op: 'out'; readonly id: number; readonly fd: 1 | 2; readonly bytes: string }
  | {
      readonly op: 'exit'
      readonly id: number
      readonly code: number | null
      readonly signal: string | null
      /** Why it never ran. */
      readonly error?: string
    }
