/** What the kernel's files say of IOMMUs: units it drives, groups it made, tables of the firmware that announce one. */

import type { HostTree } from './host-tree.ts'
import { withoutAbsent } from './present-fields.ts'

const groupFolder = '/sys/kernel/iommu_groups'
const announcing = /^(DMAR|IVRS|IORT|VIOT|RIMT)$/

export interface IommuReading {
  /** Such as dmar0 (VT-d), ivhd0 (AMD-Vi), smmu3.0x0000000009050000. */
  readonly units: readonly string[]
  /** ACPI tables that announce an IOMMU; undefined where no ACPI table is to be seen. */
  readonly tables?: readonly string[]
  readonly groups: readonly {
    readonly group: number
    /** How the kernel translates: DMA, DMA-FQ, identity. */
    readonly type?: string
    /** Set for groups without an IOMMU behind them, such as vfio-noiommu. */
    readonly name?: string
    readonly devices: readonly string[]
    /** Whether firmware keeps memory of its devices mapped, which forbids giving them away. */
    readonly hasDirectRegion: boolean
  }[]
}

/** Reads what a tree says of IOMMUs. */
export function readIommu(tree: HostTree): IommuReading {
  const acpi = tree.list('/sys/firmware/acpi/tables', /^[A-Z0-9]{4}\d{0,3}$/)
  const tables = acpi.length === 0 ? undefined : acpi.filter((name) => announcing.test(name))
  const groups = tree.list(groupFolder, /^\d{1,6}$/).map((name) => {
    const folder = `${groupFolder}/${name}`
    const regions = tree.readText(`${folder}/reserved_regions`) ?? ''
    return withoutAbsent({
      group: Number(name),
      type: tree.readText(`${folder}/type`),
      name: tree.readText(`${folder}/name`),
      devices: tree.list(`${folder}/devices`, /^[\w:.-]{1,64}$/).toSorted(),
      hasDirectRegion: /\sdirect$/m.test(regions),
    })
  })
  return withoutAbsent({ units: tree.list('/sys/class/iommu', /^[\w.:-]{1,64}$/), tables, groups })
}
