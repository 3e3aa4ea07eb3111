/** The machine that a benchmark ran on: without it, its numbers say nothing. */
import { execFile } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { promisify } from 'node:util'
import { endpoints } from '@kvasir/contract'
import type { Client } from '@kvasir/sdk'

const run = promisify(execFile)

/** Load above which times are not to be trusted. */
const busyLoad = 1

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGib: number
  readonly kernel: string
  readonly node: string
  readonly qemu: string
  readonly accelerator: string
  readonly commit: string
  /** The mean length of the run queue over the last minute, before the run. */
  readonly loadBefore: number
}

/** Describes the machine; asks the daemon which QEMU and accelerator it uses. Warns when the machine is busy. */
export async function describeMachine(client: Client): Promise<Machine> {
  const host = await client.call(endpoints.getHost)
  return {
    ...(await describeHere()),
    qemu: host.qemu.version,
    accelerator: `${host.accelerator.kind} (${host.accelerator.reason})`,
  }
}

/** Describes the machine for a benchmark that starts no VM. Warns when the machine is busy. */
export async function describeHere(): Promise<Machine> {
  const loadBefore = Math.round((loadavg()[0] ?? 0) * 100) / 100
  if (loadBefore > busyLoad)
    console.warn(`The load is ${loadBefore}: others use this machine, so trust ratios and not times.`)
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    qemu: 'not used',
    accelerator: 'none',
    commit: await commitHere(),
    loadBefore,
  }
}

async function commitHere(): Promise<string> {
  try {
    const { stdout } = await run('git', ['-C', import.meta.dirname, 'rev-parse', '--short', 'HEAD'])
    return stdout.trim()
  } catch {
    return 'unknown'
  }
}
