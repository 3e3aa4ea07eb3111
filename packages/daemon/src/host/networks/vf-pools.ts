/**
 * Virtual functions (VFs) made for networks: of a physical function (PF) that has none, as many as were asked for, and taken away again when
 * the last network that needed them stops and nobody uses one.
 *
 * What was made, and for whom, stands in a file before the kernel is told. The file lies in the runtime directory, since a boot of the host
 * forgets both. While there are VFs of ours, drivers of the host are kept from them (sriov_drivers_autoprobe), else each would be an interface
 * that programs of the host might take; not only while they are made, since a driver that is loaded because of them comes later. Facts:
 * Documentation/ABI/testing/sysfs-bus-pci, pci_device_can_probe of drivers/pci/pci-driver.c.
 */
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { CommandError, runCommand } from '@kvasir/linux'
import { z } from 'zod'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { type HostPf, planPool, useOf } from '../../model/network/vf-pool.ts'
import type { PoolSight } from '../../ports/networks.ts'
import { readPf } from '../devices/virtual-functions.ts'

const devicesFolder = '/sys/bus/pci/devices'
/** A driver that makes VFs sets up each of them. */
const writeTimeoutMs = 60_000

const poolNote = z.object({
  /** The ids of the networks that have it. */
  users: z.array(z.string()),
  /** How many VFs were made; absent where they were there. */
  made: z.number().optional(),
  /** Drivers of the host took new VFs before these were made, and are to again. */
  probes: z.boolean().optional(),
})
const notes = z.record(z.string(), poolNote)

type Notes = z.output<typeof notes>
type Note = Notes[string]

/** The pools of one daemon. Calls follow each other. */
export class VfPools {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** Sees to it that the PFs of a network have VFs. `network-refused` for what cannot be, `host-failed` with the driver's word for it. */
  async need(network: NetworkSpec): Promise<void> {
    for (const link of network.sriov?.pfs ?? []) {
      const found = await readPf(link)
      const plan = planPool(link, found, network.sriov?.vfs)
      if (plan.kind === 'refuse' || found === undefined)
        throw refused(network, plan.kind === 'refuse' ? plan.why : `${link} is gone`)
      const all = await this.#read()
      const known = all[found.address]
      const users = [...new Set([...(known?.users ?? []), network.id])]
      const made =
        plan.kind === 'make'
          ? { made: plan.count, probes: known?.probes ?? (await probesVfs(found.address)) }
          : {}
      await this.#write({ ...all, [found.address]: { ...known, ...made, users } })
      if (plan.kind === 'make') await makeVfs(found, plan.count)
    }
  }

  /** A network does not need its PFs any more. Safe to repeat. */
  async release(networkId: string): Promise<void> {
    const all = await this.#read()
    for (const [address, note] of Object.entries(all)) {
      if (!note.users.includes(networkId)) continue
      const users = note.users.filter((user) => user !== networkId)
      // VFs that somebody has meanwhile stay, and go with the next network of theirs that stops.
      if (users.length > 0 || !(await unmakeVfs(address, note))) all[address] = { ...note, users }
      else delete all[address]
      await this.#write(all)
    }
  }

  /** What there is of the PFs of a network. */
  async look(network: NetworkSpec): Promise<readonly PoolSight[]> {
    const all = await this.#read()
    const pfs = network.sriov?.pfs ?? []
    return await Promise.all(
      pfs.map(async (pf) => {
        const found = await readPf(pf)
        if (!found) return { pf, address: undefined, isUp: false, totalVfs: 0, vfs: [], made: undefined }
        return { ...found, made: all[found.address]?.made }
      }),
    )
  }

  async #read(): Promise<Notes> {
    const text = await readFile(this.#path, 'utf8').catch(() => '{}')
    try {
      return notes.parse(JSON.parse(text))
    } catch {
      return {} // Only a file that was written whole has this name: somebody else wrote there.
    }
  }

  async #write(all: Notes): Promise<void> {
    if (Object.keys(all).length === 0) {
      await rm(this.#path, { force: true })
      return
    }
    await writeFile(`${this.#path}.new`, JSON.stringify(all), { mode: 0o600 })
    await rename(`${this.#path}.new`, this.#path)
  }
}

async function probesVfs(address: string): Promise<boolean> {
  return (await readFile(autoprobeOf(address), 'utf8').catch(() => '')).trim() === '1'
}

function autoprobeOf(address: string): string {
  return join(devicesFolder, address, 'sriov_drivers_autoprobe')
}

async function makeVfs({ pf, address }: HostPf, count: number): Promise<void> {
  const otherwise = `${pf} gets no virtual functions`
  if (await probesVfs(address)) await tell(autoprobeOf(address), '0', otherwise)
  await tell(join(devicesFolder, address, 'sriov_numvfs'), `${count}`, otherwise)
}

/** Answers whether what was made is gone; others that somebody has made meanwhile are theirs. */
async function unmakeVfs(address: string, { made, probes = false }: Note): Promise<boolean> {
  if (made === undefined) return true
  const [link] = await linksOf(address)
  const found = link === undefined ? undefined : await readPf(link)
  if (found === undefined) return true
  if (found.vfs.length === made) {
    if (found.vfs.some((vf) => useOf(vf) !== undefined)) return false
    await tell(join(devicesFolder, address, 'sriov_numvfs'), '0', `the virtual functions of ${link} stay`)
  }
  if (probes)
    await tell(autoprobeOf(address), '1', `drivers leave virtual functions of ${link} alone from now on`)
  return true
}

async function linksOf(address: string): Promise<readonly string[]> {
  return await readdir(join(devicesFolder, address, 'net')).catch(() => [])
}

/** In a child, since drivers may hang. */
async function tell(path: string, text: string, otherwise: string): Promise<void> {
  try {
    await runCommand(['/bin/sh', '-c', 'printf %s "$1" >"$2"', 'kvasir-vfs', text, path], {
      timeoutMs: writeTimeoutMs,
    })
  } catch (cause) {
    const why = cause instanceof CommandError ? cause.stderr.trim() || cause.failure : String(cause)
    throw new KvasirError(
      'host-failed',
      `The kernel did not take ${text} in ${path} (${why}), so ${otherwise}.`,
      {
        cause,
      },
    )
  }
}

function refused({ name }: NetworkSpec, why: string): KvasirError {
  return new KvasirError('network-refused', `Network ${name} has no virtual functions to give: ${why}.`, {
    details: { network: name },
  })
}
