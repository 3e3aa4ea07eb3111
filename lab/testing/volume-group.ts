/** Volume groups for one test, on files of the lab. */
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { sh } from './shell.ts'

/** A block device of a size that holds zeroes, on a file; gone after the test. */
export async function newDevice(t: TestContext, mib = 512): Promise<string> {
  const file = join(tmpdir(), `kvasir-pv-${randomBytes(4).toString('hex')}.img`)
  await sh(`truncate -s ${mib}M ${file}`)
  const device = await sh(`losetup --find --show ${file}`)
  t.after(async () => {
    await sh(`losetup --detach ${device}`)
    await rm(file, { force: true })
  })
  return device
}

/** A name that no volume group has; one that gets it is removed after the test, with all in it. */
export function newGroupName(t: TestContext): string {
  const vg = `kvtest${randomBytes(3).toString('hex')}`
  t.after(() => sh(`if vgs ${vg} >/dev/null 2>&1; then vgremove -ff -y ${vg}; fi`))
  return vg
}

/** A volume group on a device of its own. */
export async function newVolumeGroup(t: TestContext, mib = 512): Promise<string> {
  const vg = newGroupName(t) // What is done after a test is done in this order.
  const device = await newDevice(t, mib)
  await sh(`vgcreate -y ${vg} ${device}`)
  return vg
}
