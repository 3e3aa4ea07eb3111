/** The daemon that is measured: a real one in a place of its own, with the tiny image, and everything taken away afterwards. */
import { join } from 'node:path'
import { endpoints, type VmSpecInput } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { waitForJob } from '@kvasir/sdk'
import { type Daemon, type DaemonEnvironment, startDaemon } from '../e2e/machine/daemon.ts'
import { clearPlace } from '../e2e/machine/leftovers.ts'
import { makePlace, type Place } from '../e2e/machine/place.ts'
import { seedTinyImage } from '../e2e/machine/tiny-image.ts'
import { monotonicMs, type StartSpan } from './start-steps.ts'

const startSeconds = 60

/** A daemon in a place of its own; disposing ends it and everything that it started. */
export class BenchDaemon implements AsyncDisposable {
  readonly place: Place
  readonly #environment: DaemonEnvironment
  #daemon: Daemon

  private constructor(place: Place, environment: DaemonEnvironment, daemon: Daemon) {
    this.place = place
    this.#environment = environment
    this.#daemon = daemon
  }

  /** Where the daemon writes when it reached its failpoints, when it was opened with `tracesSteps`. */
  get timesFile(): string {
    return timesFileOf(this.place)
  }

  /** `network`: the path of the network namespace that it runs in, for those that have networks. */
  static async open({
    tracesSteps = false,
    network,
  }: {
    readonly tracesSteps?: boolean
    readonly network?: string
  } = {}): Promise<BenchDaemon> {
    requireRoot()
    const made = await makePlace()
    const place = network === undefined ? made : { ...made, network }
    const environment = tracesSteps ? { KVASIR_FAILPOINT_TIMES: timesFileOf(place) } : {}
    try {
      await seedTinyImage(place)
      return new BenchDaemon(place, environment, await startDaemon(place, environment))
    } catch (error) {
      await clearPlace(place)
      throw error
    }
  }

  get client() {
    return this.#daemon.client
  }

  get pid(): number {
    return this.#daemon.pid
  }

  async createVm(name: string, spec: VmSpecInput): Promise<void> {
    await this.client.call(endpoints.createVm, { body: { name, spec } })
  }

  /** Starts a VM by one request, whose answer comes when it runs. Gives how long that took, and the emulator's pid. */
  async startVm(name: string): Promise<StartSpan & { readonly ms: number; readonly pid: number }> {
    const params = { name }
    const askedAt = monotonicMs()
    const job = await this.client.call(routes.startVm, { params, query: { wait: startSeconds } })
    const answeredAt = monotonicMs()
    await waitForJob(this.client, job)
    const { status } = await this.client.call(endpoints.getVm, { params })
    if (status.state !== 'running' || status.pid === undefined)
      throw new Error(`VM ${name} is ${status.state} after its start.`)
    return { ms: answeredAt - askedAt, askedAt, answeredAt, pid: status.pid }
  }

  /** Starts a VM by one request, and asks no more of it. */
  async runVm(name: string): Promise<void> {
    const job = await this.client.call(routes.startVm, { params: { name }, query: { wait: startSeconds } })
    await waitForJob(this.client, job)
  }

  async pauseVm(name: string): Promise<void> {
    await this.client.call(endpoints.pauseVm, { params: { name } })
  }

  async powerOffVm(name: string): Promise<void> {
    await this.client.call(endpoints.powerOffVm, { params: { name } })
  }

  async deleteVm(name: string): Promise<void> {
    await this.client.call(endpoints.deleteVm, { params: { name }, query: { disks: 'true' } })
  }

  /** Kills the daemon at whatever instruction it is, and starts the next one. Gives how long that took until it served. */
  async crashAndRestart(): Promise<number> {
    await this.#daemon.kill9()
    const startedAt = performance.now()
    this.#daemon = await startDaemon(this.place, this.#environment)
    return performance.now() - startedAt
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop()
    await clearPlace(this.place)
  }
}

function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new Error('The benchmarks start real VMs in their cages, which takes root; run them as root.')
}

function timesFileOf(place: Place): string {
  return join(place.base, 'failpoint-times')
}
