/**
 * What the kernel shows of this machine in /sys and /proc, read when asked and kept for a moment: a page that shows it asks often,
 * and a machine of hundreds of CPUs takes part of a second to read.
 */
import { type HostTopology, KvasirError } from '@kvasir/contract'
import { DirectoryTree } from '@kvasir/linux/host-tree'
import { readTopology } from '@kvasir/linux/topology'

const keptMs = 1_000

/** The facts of the machine that this process runs on. */
export class MachineFacts {
  readonly #tree = new DirectoryTree('/')
  #topology: { readonly untilMs: number; readonly answer: Promise<HostTopology> } | undefined

  /** CPUs, caches, nodes and PCI devices. Throws `host-failed` when the kernel shows no CPU. */
  topology(): Promise<HostTopology> {
    const now = performance.now()
    if (this.#topology === undefined || this.#topology.untilMs < now)
      this.#topology = { untilMs: now + keptMs, answer: this.#readTopology() }
    return this.#topology.answer
  }

  async #readTopology(): Promise<HostTopology> {
    const topology = await readTopology(this.#tree)
    if (topology === undefined)
      throw new KvasirError(
        'host-failed',
        'The kernel shows no CPU in /sys/devices/system/cpu, so the topology of the host is unknown.',
      )
    return topology
  }
}
