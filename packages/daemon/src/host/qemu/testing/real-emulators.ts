/** For tests: emulators on this host, in folders, a cgroup and UIDs of their own, and nothing left afterwards. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type VmSpecInput, vmSpec } from '@kvasir/contract'
import { wantedPages } from '../../../model/memory/hugepages.ts'
import { planPlugMemory } from '../../../model/memory/plug-memory.ts'
import { pluggableAddress } from '../../../model/pci/layout.ts'
import { buildEmulator } from '../../../model/qemu/build-emulator.ts'
import { plugMemoryId } from '../../../model/qemu/ids.ts'
import type { Emulators, LaunchRequest } from '../../../ports/emulators.ts'
import type { SecretFiles } from '../../../ports/secrets.ts'
import { openCages } from '../../cage/cage.ts'
import type { CageGroups } from '../../cage/cage-groups.ts'
import { DeviceDesk } from '../../devices/device-desk.ts'
import { openSecretFiles } from '../../files/secret-files.ts'
import { HugepageDesk } from '../../memory/hugepage-desk.ts'
import { createQemuEmulators } from '../emulators.ts'
import { createNicServers } from '../network-helper.ts'

type Memory = NonNullable<VmSpecInput['memory']>

const uid = 2_100_910_000
const binary = '/usr/bin/qemu-system-x86_64'

export interface RealEmulators extends AsyncDisposable {
  readonly runtimeDir: string
  readonly groups: CageGroups
  readonly secrets: SecretFiles
  readonly emulators: Emulators
  /** The same host as the next daemon sees it. */
  follow(): Promise<Emulators>
  /** A small VM with 2 of 4 vCPUs and without disks, whose firmware finds nothing to boot; its memory as said, else 64 MiB. */
  request(id: string, memory?: Memory): LaunchRequest
}

/** Opens emulators for one test. */
export async function openRealEmulators(): Promise<RealEmulators> {
  const folder = await mkdtemp(join(tmpdir(), 'kve-'))
  const runtimeDir = join(folder, 'run')
  const cages = await openCages({
    runtimeDir,
    cgroupName: `kvasir-test-${process.pid}-${randomBytes(3).toString('hex')}`,
    kvm: false,
  })
  const secrets = await openSecretFiles(folder)
  const follow = () =>
    createQemuEmulators({
      runtimeDir,
      logDir: join(folder, 'log'),
      cages,
      secrets,
      devices: new DeviceDesk({
        directory: join(runtimeDir, 'devices'),
        bootId: 'test',
        failpoint: async () => {},
      }),
      hugepages: new HugepageDesk({ bootId: 'test', mayReserve: true }),
      helpers: createNicServers({ passt: undefined, qemu: async () => binary }),
      binary: async () => binary,
      failpoint: async () => {},
      now: () => new Date().toISOString(),
    })
  return {
    runtimeDir,
    groups: cages.groups,
    secrets,
    emulators: follow(),
    follow: async () => follow(),
    request: requestFor,
    async [Symbol.asyncDispose]() {
      const emulators = follow()
      for (const id of await emulators.present()) await emulators.clean(id)
      await cages.remove()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function requestFor(id: string, memory: Memory = {}): LaunchRequest {
  const spec = vmSpec.parse({ cpu: { count: 2, max: 4 }, memory: { size: '64MiB', ...memory } })
  const plan = buildEmulator({
    name: 'web1',
    uuid: id,
    spec,
    hardware: {
      machine: 'pc-q35-7.2',
      pci: {
        [plugMemoryId]: pluggableAddress('q35', 0),
        ...Object.fromEntries(
          ['display', 'serialbus', 'rng', 'balloon', 'vsock'].map((device, index) => [
            device,
            { slot: index + 1, function: 0 },
          ]),
        ),
      },
      vsockCid: undefined,
      plugMemory: planPlugMemory(spec),
    },
    accelerator: 'tcg',
    qemu: { version: [7, 2, 0], machines: ['pc-q35-7.2'] },
    disks: [],
    kernel: undefined,
    seedPath: undefined,
    vsock: false,
    restorePath: undefined,
  })
  return {
    id,
    uuid: id,
    name: 'web1',
    uid,
    plan,
    memo: `memo of ${id}`,
    vcpuCount: 2,
    memoryBytes: spec.memory.size,
    pages: wantedPages('web1', spec),
  }
}
