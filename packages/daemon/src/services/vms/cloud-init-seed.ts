/** The NoCloud seed of a VM: who the guest is, for cloud-init. */
import { buildSeed } from '../../model/images/cloud-init.ts'
import type { VmRecord } from '../../ports/store.ts'

/** The bytes of the seed disk. The instance id is the VM's UUID, so a clone is configured anew. */
export function seedOf(record: VmRecord): Uint8Array {
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
