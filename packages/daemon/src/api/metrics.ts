/**
 * Prometheus metrics: the names of the libvirt exporters where they exist, so that dashboards go on working, and `kvasir_*` for the
 * rest.
 *
 * Invariant: a scrape takes at most `scrapeDeadlineMs`. What does not arrive by then is left out and counted, never waited for. Scrapes
 * at the same time share one collection.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import type { DiskSample, HostSample, RunSample, VmSample } from '../services/host/collect-samples.ts'
import { hostMemoryFamilies, vmMemoryFamilies } from './memory-metrics.ts'
import { vmNicFamilies } from './nic-metrics.ts'

/** How long one scrape may wait for samples. */
const scrapeDeadlineMs = 1_000

export interface MetricsOptions {
  readonly collect: () => Promise<readonly VmSample[]>
  /** The host, where it is to be shown. */
  readonly host?: () => Promise<HostSample>
  readonly deadlineMs?: number
}

export interface Metrics {
  /** The exposition text. Never rejects for want of samples. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>
}

/** Makes the metrics over a way to collect samples. */
export function createMetrics(options: MetricsOptions): Metrics {
  const deadlineMs = options.deadlineMs ?? scrapeDeadlineMs
  const registry = new Registry()
  const families = createFamilies(registry)
  const setHost = options.host && hostMemoryFamilies(registry)
  let lastHost: HostSample | undefined
  let underWay: Promise<string> | undefined

  async function collect(): Promise<readonly VmSample[]> {
    const samples = await options.collect()
    // When they come too late nobody waits for their runs any more, and a rejection must not go unheard.
    for (const { run } of samples) run?.catch(() => {})
    return samples
  }

  async function scrape(): Promise<string> {
    const begun = performance.now()
    const { promise: deadline, resolve: outOfTime } = Promise.withResolvers<typeof late>()
    const timer = setTimeout(() => outOfTime(late), deadlineMs)
    try {
      const [samples, host] = await Promise.all([
        Promise.race([settled(collect()), deadline]),
        Promise.race([settled(options.host?.()), deadline]),
      ])
      const vms = samples === late || samples === undefined ? [] : samples
      const runs = await Promise.all(vms.map((vm) => Promise.race([settled(vm.run), deadline])))
      registry.resetMetrics()
      families.up.set(samples === late || samples === undefined ? 0 : 1)
      vms.forEach((vm, index) => {
        const run = runs[index]
        families.add(vm, run === late ? undefined : run)
        if (vm.run !== undefined && (run === late || run === undefined)) families.stale.inc()
      })
      if (host !== late && host !== undefined) lastHost = host
      if (lastHost) setHost?.(lastHost)
      families.scrapeSeconds.set((performance.now() - begun) / 1000)
      return await registry.metrics()
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    async render() {
      underWay ??= scrape().finally(() => {
        underWay = undefined
      })
      return { contentType: registry.contentType, body: await underWay }
    },
  }
}

/** Requests within each bound, as Prometheus counts them: each bound has those of the smaller ones too. */
function cumulated({
  latency,
}: DiskSample): Readonly<Record<string, readonly (readonly [string, number])[]>> {
  if (latency === undefined) return {}
  const within = (counts: readonly number[]) => {
    let sum = 0
    return counts.map((count, index) => {
      sum += count
      const bound = latency.bounds[index]
      return [bound === undefined ? '+Inf' : String(bound / 1_000_000), sum] as const
    })
  }
  const { reads, writes, flushes } = latency
  return { read: within(reads), write: within(writes), flush: within(flushes) }
}

const late = Symbol('late')

/** The value, or undefined when there will be none. */
async function settled<T>(value: T | Promise<T>): Promise<T | undefined> {
  try {
    return await value
  } catch {
    // Who has no sample to give is left out.
    return undefined
  }
}

const vmLabels = ['domain'] as const
const diskLabels = ['domain', 'target_device', 'source_file'] as const
const vcpuLabels = ['domain', 'vcpu'] as const

function createFamilies(registry: Registry) {
  const registers = [registry]
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Gauge({ name, help, labelNames, registers })
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name, help, labelNames, registers })

  const info = 'libvirt_domain_info'
  const block = 'libvirt_domain_block_stats'
  const up = gauge('libvirt_up', 'Whether the VMs could be looked at.', [])
  const stale = gauge('kvasir_stale_vms', 'VMs left out because their emulators did not answer in time.', [])
  const scrapeSeconds = gauge('kvasir_scrape_duration_seconds', 'How long this scrape took.', [])
  const vmInfo = gauge('kvasir_vm_info', 'One for each VM, with what identifies it.', [
    'domain',
    'uuid',
    'state',
    'accelerator',
  ])
  const maximumMemory = gauge(`${info}_maximum_memory_bytes`, 'Memory of the VM at boot.', vmLabels)
  const others = [vmMemoryFamilies(registry), vmNicFamilies(registry)]
  const vcpus = gauge(`${info}_virtual_cpus`, 'vCPUs of the VM.', vmLabels)
  const cpuTime = counter(`${info}_cpu_time_seconds_total`, 'CPU time of the emulator.', vmLabels)
  const vcpuTime = counter('kvasir_vm_vcpu_cpu_seconds_total', 'CPU time of a vCPU.', vcpuLabels)
  const vcpuWait = counter(
    'kvasir_vm_vcpu_wait_seconds_total',
    'Time that a vCPU was ready and had no CPU.',
    vcpuLabels,
  )
  const readBytes = counter(`${block}_read_bytes_total`, 'Bytes read.', diskLabels)
  const readRequests = counter(`${block}_read_requests_total`, 'Read requests.', diskLabels)
  const writeBytes = counter(`${block}_write_bytes_total`, 'Bytes written.', diskLabels)
  const writeRequests = counter(`${block}_write_requests_total`, 'Write requests.', diskLabels)
  const flushes = counter(`${block}_flush_requests_total`, 'Flush requests.', diskLabels)
  const latency = counter(
    'kvasir_vm_disk_latency_seconds_bucket',
    'Requests that took at most so long, since the disk was first looked at.',
    [...vmLabels, 'target_device', 'operation', 'le'],
  )
  const capacity = gauge(`${block}_capacity_bytes`, 'Size of the disk as the guest sees it.', diskLabels)

  function addDisk(domain: string, disk: DiskSample): void {
    const labels = { domain, target_device: disk.disk, source_file: disk.source }
    readBytes.inc(labels, disk.readBytes)
    readRequests.inc(labels, disk.readRequests)
    writeBytes.inc(labels, disk.writtenBytes)
    writeRequests.inc(labels, disk.writeRequests)
    flushes.inc(labels, disk.flushRequests)
    for (const [operation, within] of Object.entries(cumulated(disk)))
      for (const [le, count] of within)
        latency.inc({ domain, target_device: disk.disk, operation, le }, count)
    if (disk.capacityBytes !== undefined) capacity.set(labels, disk.capacityBytes)
  }

  function add(vm: VmSample, run: RunSample | undefined): void {
    const domain = vm.name
    vmInfo.set({ domain, uuid: vm.uuid, state: vm.state, accelerator: vm.accelerator ?? '' }, 1)
    maximumMemory.set({ domain }, vm.maximumMemoryBytes)
    vcpus.set({ domain }, vm.vcpuCount)
    if (!run) return
    for (const set of others) set(domain, run)
    cpuTime.inc({ domain }, run.cpuSeconds)
    for (const { index, cpuSeconds, waitSeconds } of run.vcpus) {
      vcpuTime.inc({ domain, vcpu: String(index) }, cpuSeconds)
      vcpuWait.inc({ domain, vcpu: String(index) }, waitSeconds)
    }
    for (const disk of run.disks) addDisk(domain, disk)
  }

  return { up, stale, scrapeSeconds, add }
}
