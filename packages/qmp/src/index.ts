/** QMP and guest-agent clients for QEMU. */
export {
  type ConnectOptions,
  defaultCommandTimeoutMs,
  type ExecuteOptions,
  type ExecuteParameters,
  maxLineBytes,
  maxNestingDepth,
  maxUnansweredCommands,
  maxUnsentBytes,
  QmpClient,
} from './client.ts'
export {
  type CloseReason,
  describeCloseReason,
  QmpBusyError,
  QmpClosedError,
  QmpError,
  QmpProtocolError,
  QmpTimeoutError,
} from './errors.ts'
export { introspectedVersions, versionsOfCommand } from './generated/command-versions.ts'
export type { Commands } from './generated/commands.ts'
export type { Events } from './generated/events.ts'
export type * from './generated/types.ts'
export {
  type AgentConnectOptions,
  type AgentExecuteOptions,
  type AgentExecuteParameters,
  agentSilenceMs,
  defaultAgentTimeoutMs,
  GuestAgentClient,
  maxAgentExchangeBytes,
  maxAgentLineBytes,
  maxAgentNestingDepth,
  maxAgentUnsentBytes,
  maxUnaskedBytes,
  maxWaitingAgentCommands,
} from './guest-agent.ts'
export type { AgentArguments, AgentCommandName, AgentReturn } from './guest-agent-commands.ts'
export type {
  CommandArguments,
  CommandName,
  CommandReturn,
  EventName,
  QemuVersion,
  QmpEvent,
} from './messages.ts'
export { type WaitForEventOptions, waitForEvent } from './wait-for-event.ts'
