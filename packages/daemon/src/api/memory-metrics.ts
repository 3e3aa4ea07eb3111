/** The metrics of memory: of a VM as the host holds it and its guest reports it, and of the host as its kernel counts it. */
import { Gauge, type Registry } from 'prom-client'
import type { HostSample, RunSample } from '../services/host/collect-samples.ts'

/** Adds the gauges of a VM's memory; what they answer sets them for one VM. */
export function vmMemoryFamilies(registry: Registry): (domain: string, run: RunSample) => void {
  const gauge = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['domain'], registers: [registry] })
  const memory = gauge('libvirt_domain_info_memory_usage_bytes', 'Memory that the guest may use now.')
  const resident = gauge('kvasir_vm_resident_bytes', 'Memory of the host that the emulator holds.')
  const swapped = gauge('kvasir_vm_swapped_bytes', 'Memory of the emulator that is swapped out.')
  const merged = gauge('kvasir_vm_ksm_bytes', 'Memory of the emulator that KSM has merged.')
  const available = gauge(
    'kvasir_vm_guest_available_bytes',
    'Memory that the guest says it could use without swapping.',
  )
  return (domain, run) => {
    memory.set({ domain }, run.memoryBytes)
    resident.set({ domain }, run.residentBytes)
    swapped.set({ domain }, run.swappedBytes)
    if (run.ksmBytes !== undefined) merged.set({ domain }, run.ksmBytes)
    if (run.guestAvailableBytes !== undefined) available.set({ domain }, run.guestAvailableBytes)
  }
}

/** Adds the gauges of the host's memory; what they answer sets them. */
export function hostMemoryFamilies(registry: Registry): (host: HostSample) => void {
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `kvasir_host_${name}`, help, registers: [registry] })
  const total = gauge('memory_total_bytes', 'Memory of the host.')
  const available = gauge('memory_available_bytes', 'Memory that the host could give without swapping.')
  const swapFree = gauge('swap_free_bytes', 'Swap of the host that is free.')
  const saved = gauge('ksm_saved_bytes', 'Memory that KSM saves on the host.')
  const zswapPool = gauge('zswap_pool_bytes', 'Memory that the pool of zswap takes.')
  const zswapStored = gauge('zswap_stored_bytes', 'Memory that is compressed in the pool of zswap.')
  return (host) => {
    total.set(host.totalBytes)
    available.set(host.availableBytes)
    swapFree.set(host.swapFreeBytes)
    if (host.ksmSavedBytes !== undefined) saved.set(host.ksmSavedBytes)
    if (host.zswapPoolBytes !== undefined) zswapPool.set(host.zswapPoolBytes)
    if (host.zswapStoredBytes !== undefined) zswapStored.set(host.zswapStoredBytes)
  }
}
