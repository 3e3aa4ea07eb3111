/**
 * User-mode networking: a process per NIC that serves it, beside the emulator, whose network stays empty. It lives in the VM's cgroup, so
 * that it ends with the VM, and has the host's network. passt where it is there, else slirp; each start looks for itself.
 */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { COMMAND_PATH } from '@kvasir/linux'
import type { UserServer } from '../../model/qemu/emulator-plan.ts'
import { chooseUserServer } from '../../model/qemu/slirp.ts'
import type { NetworkHelperRequest } from './network-helper-process.ts'
import { startPasst } from './passt-helper.ts'
import { startSlirp } from './slirp-helper.ts'

/** The programs that serve. */
export interface NicServers {
  /** Which of them a start would take now. */
  server(): Promise<UserServer>
  /** Starts a helper for each NIC and waits until all of them serve. `in-use`, `unsupported` or `host-failed` with what it said. */
  start(request: NetworkHelperRequest): Promise<void>
}

/** With the passt of the configuration, else the one on the usual paths, and the QEMU that runs VMs. */
export function createNicServers(programs: {
  readonly passt: string | undefined
  readonly qemu: () => Promise<string>
}): NicServers {
  const places = programs.passt ? [programs.passt] : COMMAND_PATH.split(':').map((it) => join(it, 'passt'))
  return {
    server: async () => chooseUserServer({ passt: await firstProgram(places) }),
    async start(request) {
      if (request.nics.length === 0) return
      const passt = await firstProgram(places)
      const { kind } = chooseUserServer({ passt })
      const qemu = kind === 'slirp' ? await programs.qemu() : ''
      await Promise.all(
        request.nics.map((nic) =>
          passt === undefined ? startSlirp(qemu, nic, request) : startPasst(passt, nic, request),
        ),
      )
    },
  }
}

async function firstProgram(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  return undefined
}
