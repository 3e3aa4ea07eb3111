/** Devices of the host that are lent and given back, on a tree of /sys that answers as the kernel does. */
import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { DeviceDesk } from './device-desk.ts'

const nvme = '0000:01:00.0'
const web1 = { id: 'web1-id', name: 'web1' }
const db1 = { id: 'db1-id', name: 'db1' }

/** A host with one NVMe disk in group 7. Its kernel does at once what it is told through files. */
class Host {
  readonly root = mkdtempSync(join(tmpdir(), 'kvasir-desk-'))
  readonly #pci = join(this.root, 'sys/bus/pci')
  readonly #device = join(this.#pci, 'devices', nvme)
  #override = ''
  /** Somebody takes the device from the host as soon as the kernel is told something of it. */
  vanishes = false

  constructor(t: TestContext) {
    t.after(() => rmSync(this.root, { recursive: true }))
    for (const folder of [this.#device, join(this.root, 'dev/vfio'), join(this.root, 'run')])
      mkdirSync(folder, { recursive: true })
    for (const driver of ['nvme', 'vfio-pci'])
      mkdirSync(join(this.#pci, 'drivers', driver), { recursive: true })
    symlinkSync('../../../kernel/iommu_groups/7', join(this.#device, 'iommu_group'))
    this.#bind('nvme')
  }

  desk(failpoint: (name: FailpointName) => Promise<void> = async () => {}, bootId = 'boot1'): DeviceDesk {
    const directory = join(this.root, 'run/devices')
    return new DeviceDesk({
      directory,
      bootId,
      root: this.root,
      failpoint,
      tell: (...said) => this.#tell(...said),
    })
  }

  get driver(): string | undefined {
    const link = join(this.#device, 'driver')
    return existsSync(link) ? basename(readlinkSync(link)) : undefined
  }

  get notes(): readonly string[] {
    return readdirSync(join(this.root, 'run/devices'))
  }

  async #tell(path: string, text: string): Promise<void> {
    const [name, word] = [basename(path), text.trim()]
    if (this.vanishes) {
      rmSync(this.#device, { recursive: true })
      throw new Error(`The kernel has no ${path}.`)
    }
    if (name === 'driver_override') this.#override = word
    else if (name === 'unbind') this.#bind(undefined)
    else if (name === 'drivers_probe') this.#bind(this.#override || 'nvme')
    else if (name === 'bind') this.#bind(basename(dirname(path)))
    else throw new Error(`The kernel has no ${path}.`)
  }

  #bind(driver: string | undefined): void {
    rmSync(join(this.#device, 'driver'), { force: true })
    if (driver !== undefined) symlinkSync(join(this.#pci, 'drivers', driver), join(this.#device, 'driver'))
    const node = join(this.root, 'dev/vfio/7')
    if (driver === 'vfio-pci') writeFileSync(node, '')
    else rmSync(node, { force: true })
  }
}

test('a device is lent to one VM alone, and goes back to the driver that had it', async (t) => {
  const host = new Host(t)
  const desk = host.desk()

  const [lent] = await desk.lend(web1, [nvme])

  assert.deepEqual([lent?.address, lent?.group, host.driver], [nvme, '7', 'vfio-pci'])
  await assert.rejects(desk.lend(db1, [nvme]), { code: 'in-use' })
  await desk.giveBack(db1.id)
  await desk.giveBack(web1.id, '0000:09:00.0')
  assert.equal(host.driver, 'vfio-pci', 'Neither is its own to give back.')
  await desk.giveBack(web1.id, nvme)
  assert.deepEqual([host.driver, host.notes], ['nvme', []])
})

const points = failpointNames.filter((name) => name.startsWith('device.'))

for (const point of points)
  test(`a daemon that dies at ${point} leaves a device that the next one can lend and give back`, async (t) => {
    const host = new Host(t)
    let reached = 0
    const dying = host.desk(async (name) => {
      if (name !== point) return
      reached += 1
      throw new Error('The daemon is dead.')
    })

    await assert.rejects(
      dying.lend(web1, [nvme]).then(() => dying.giveBack(web1.id)),
      /is dead/,
    )
    const next = host.desk()
    const holders = (await next.lent()).map(({ vm, driver }) => [vm, driver])
    await next.giveBack(web1.id)
    const rest = [host.driver, host.notes]
    await next.lend(web1, [nvme])
    await next.lend(web1, [nvme])
    await next.giveBack(web1.id)

    assert.equal(reached, 1)
    assert.deepEqual(holders, point === 'device.return.after-note' ? [] : [[web1.id, 'nvme']])
    assert.deepEqual(rest, ['nvme', []])
    assert.deepEqual([host.driver, host.notes], ['nvme', []])
  })

test('a device that somebody takes from the host while it is given back is nobody’s any more', async (t) => {
  const host = new Host(t)
  const desk = host.desk()
  await desk.lend(web1, [nvme])

  host.vanishes = true
  await desk.giveBack(web1.id)

  assert.deepEqual(host.notes, [])
})

test('a note of an earlier boot of the host says nothing', async (t) => {
  const host = new Host(t)
  await host.desk().lend(web1, [nvme])

  const [lent] = await host.desk(undefined, 'boot2').lend(db1, [nvme])

  assert.equal(lent?.address, nvme)
})
