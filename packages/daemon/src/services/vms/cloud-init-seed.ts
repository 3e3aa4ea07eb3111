/** The NoCloud seed of a VM: who the guest is, for cloud-init. */
import { buildSeed } from '../../model/images/cloud-init.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

/** Writes the seed disk of a VM that has one. */
export async function writeSeed(record: VmRecord, ports: Ports): Promise<void> {
  if (!record.spec.cloudInit) return
  await ports.files.writeSeed(record.id, seedOf(record))
}

/** The bytes of the seed disk. The instance id is the VM's UUID, so a clone is configured anew. */
function seedOf(record: VmRecord): Uint8Array {
  const { cloudInit } = record.spec
  return buildSeed({
    instanceId: record.id,
    hostname: cloudInit?.hostname ?? record.name,
    user: cloudInit?.user,
    sshKeys: cloudInit?.sshKeys ?? [],
    passwordHash: cloudInit?.passwordHash,
    network: cloudInit?.network,
    userData: cloudInit?.userData,
  })
}
