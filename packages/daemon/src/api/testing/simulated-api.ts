/** For tests: the API over the real services and store, on a simulated machine; every answer is checked against the contract. */
import assert from 'node:assert/strict'
import type { Vm } from '@kvasir/contract'
import { collectSamples } from '../../services/host/collect-samples.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'
import { createMetrics } from '../metrics.ts'
import { type Answered, type RunningApi, type Sent, startApi } from './running-api.ts'

export interface SimulatedApi extends Omit<SimulatedDaemon, 'vm'> {
  readonly api: RunningApi
  /** Asks, and asserts the status of the answer. */
  readonly expect: (status: number, path: string, request?: Sent) => Promise<Answered>
  readonly post: (
    status: number,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Answered>
  readonly vm: (name: string) => Promise<Vm>
}

/** Serves a simulated daemon, a new one unless it is given. */
export async function startSimulatedApi(given?: SimulatedDaemon): Promise<SimulatedApi> {
  const simulated = given ?? (await openSimulatedDaemon())
  const { daemon } = simulated
  const { context } = daemon
  const api = await startApi({
    handlers: daemon.handlers,
    feed: daemon.feed,
    consoles: daemon.consoles,
    metrics: createMetrics({ collect: () => collectSamples(context) }),
    idempotency: context.ports.store.idempotency,
  })
  const expect: SimulatedApi['expect'] = async (status, path, request) => {
    const answer = await api.send(path, request)
    assert.equal(answer.status, status, `${request?.method ?? 'GET'} ${path}: ${answer.text}`)
    return answer
  }
  return {
    ...simulated,
    api,
    expect,
    post: (status, path, body = {}, headers = {}) => expect(status, path, { method: 'POST', body, headers }),
    vm: async (name) => (await expect(200, `/v1/vms/${name}`)).json as Vm,
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]()
      await simulated[Symbol.asyncDispose]()
    },
  }
}
