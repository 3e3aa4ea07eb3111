/** Steps of the operations that a daemon may die in: what they ask of the API, and how a VM is brought to where they begin. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { endpoints, KvasirError, type Vm, type VmSpecInput, type VmState } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import type { World } from './world.ts'

const jobMs = 30_000
/** The least that a VM can be. */
export const diskless: VmSpecInput = {
  memory: { size: '32MiB' },
  devices: { vnc: false, vsock: false, rng: false },
  lifecycle: { onPanic: 'stop' },
}

/** Whether there is a VM of a name. */
export async function exists(world: World, name: string): Promise<boolean> {
  return (await world.client.call(endpoints.listVms)).some((vm) => vm.name === name)
}

/** Whether a VM is in a state. */
export async function is(world: World, name: string, state: VmState): Promise<boolean> {
  return (await world.vm(name).state()) === state
}

/** Creates a VM. */
export async function create(world: World, name: string, spec: VmSpecInput, key?: string): Promise<void> {
  await world.client.call(endpoints.createVm, { body: { name, spec }, idempotencyKey: key })
}

/** Clones the VM `parent`, and waits for it. */
export async function clone(
  world: World,
  body: { readonly name: string; readonly mode: 'linked' | 'full' },
  key: string,
): Promise<void> {
  const params = { name: 'parent' }
  const job = await world.client.call(endpoints.cloneVm, { params, body, idempotencyKey: key })
  await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

/** Deletes a VM, whatever it does. */
export async function remove(world: World, name: string): Promise<void> {
  if (!(await exists(world, name))) return
  if (!['shutoff', 'crashed', 'saved'].includes(await world.vm(name).state())) await world.vm(name).powerOff()
  await world.vm(name).delete({ disks: true })
}

/** Brings a VM into a state, creating it where it is missing. */
export async function bring(
  world: World,
  name: string,
  wanted: 'shutoff' | 'running' | 'saved',
  spec: VmSpecInput,
): Promise<void> {
  if (!(await exists(world, name))) await create(world, name, spec)
  const vm = world.vm(name)
  const state = await vm.state()
  if (state === wanted) return
  if (wanted === 'shutoff') {
    if (state === 'saved') await vm.discardSaved()
    else if (state !== 'crashed') await vm.powerOff()
    return
  }
  if (state === 'stopping' || state === 'paused') await vm.powerOff()
  if (state !== 'running') await vm.start()
  if (wanted === 'saved') await vm.save()
}

/** A VM that has just been made and started. */
export async function bringAnew(world: World, name: string, spec: VmSpecInput): Promise<void> {
  await remove(world, name)
  await bring(world, name, 'running', spec)
}

/** Changes the vCPUs of a VM that runs, and waits until it is known how far that went. */
export async function setVcpus(
  world: World,
  name: string,
  cpu: { count: number; max: number },
): Promise<void> {
  await waitForChange(world, await world.vm(name).apply({ ...diskless, cpu }))
}

/** Waits for the job that carries a change into the guest of a VM, if there is one. */
export async function waitForChange(world: World, { status }: Vm): Promise<void> {
  if (status.job === undefined) return
  const job = await world.client.call(endpoints.getJob, { params: { id: status.job } })
  await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

/** A VM whose guest is up, with these disks and no others; made anew when one of them was lost on the way. */
export async function bringDisks(world: World, name: string, disks: VmSpecInput['disks']): Promise<void> {
  if (!(await exists(world, name)) || !(await is(world, name, 'running'))) {
    await remove(world, name)
    await world.bootTiny(name, { disks: [] })
  }
  await setDisks(world, name, [])
  for (const volume of await world.client.call(endpoints.listVolumes))
    if (volume.name.startsWith(`${name}-`)) await removeVolume(world, volume.name)
  await setDisks(world, name, disks)
}

/** Plugs and unplugs disks of a VM that runs until it has these, and waits until it is known how far that went. */
export async function setDisks(world: World, name: string, disks: VmSpecInput['disks']): Promise<void> {
  const vm = world.vm(name)
  const { spec } = await vm.show()
  await waitForChange(world, await vm.apply({ ...spec, disks: [...(disks ?? [])] }))
}

/** Whether a VM has so many disks, and its guest too. */
export async function hasDisks(world: World, name: string, count: number): Promise<boolean> {
  const { spec, status } = await world.vm(name).show()
  const isSettled = status.job === undefined && status.restartNeeded?.length === 0
  return spec.disks.length === count && isSettled
}

/** Gives a VM another name. */
export async function rename(world: World, from: string, to: string): Promise<void> {
  await world.client.call(endpoints.renameVm, { params: { name: from }, body: { name: to } })
}

/** Whether there is a volume of a name. */
export async function hasVolume(world: World, name: string): Promise<boolean> {
  return (await world.client.call(endpoints.listVolumes)).some((volume) => volume.name === name)
}

/** Makes a volume. */
export async function createVolume(world: World, name: string, key?: string): Promise<void> {
  await world.client.call(endpoints.createVolume, {
    params: { pool: 'default' },
    body: { name, size: '64MiB' },
    idempotencyKey: key,
  })
}

/** Deletes a volume where it is there. */
export async function removeVolume(world: World, name: string): Promise<void> {
  await world.client
    .call(endpoints.deleteVolume, { params: { pool: 'default', volume: name } })
    .catch(unless('volume-not-found'))
}

/** The capacity that the store has for a volume. */
export async function capacityOf(world: World, volume: string): Promise<number> {
  const params = { pool: 'default', volume }
  return (await world.client.call(endpoints.getVolume, { params })).capacityBytes
}

/** Gives a volume another size. */
export async function resizeVolume(world: World, volume: string, size: number): Promise<void> {
  await world.client.call(endpoints.resizeVolume, { params: { pool: 'default', volume }, body: { size } })
}

/** Makes a linked clone of a volume, and waits for it. */
export async function cloneVolume(
  world: World,
  { from, name }: { readonly from: string; readonly name: string },
  key: string,
): Promise<void> {
  const params = { pool: 'default', volume: from }
  const job = await world.client.call(endpoints.cloneVolume, { params, body: { name }, idempotencyKey: key })
  await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

/** Whether there is a pool of a name. */
export async function hasPool(world: World, name: string): Promise<boolean> {
  return (await world.client.call(endpoints.listPools)).some((pool) => pool.name === name)
}

/** Makes a pool that is a folder, with a volume in it. */
export async function createPool(world: World, name: string, key?: string): Promise<void> {
  const path = join(world.place.base, name)
  await world.client.call(endpoints.createPool, { body: { type: 'dir', name, path }, idempotencyKey: key })
  const body = { name: 'inside', size: '16MiB' }
  await world.client
    .call(endpoints.createVolume, { params: { pool: name }, body })
    .catch(unless('name-taken'))
}

/** Deletes a pool with its volumes where it is there. */
export async function removePool(world: World, name: string): Promise<void> {
  const query = { data: 'remove' } as const
  await world.client
    .call(endpoints.deletePool, { params: { pool: name }, query })
    .catch(unless('pool-not-found'))
}

/** Whether there is an image of a name. */
export async function hasImage(world: World, name: string): Promise<boolean> {
  return (await world.client.call(endpoints.listImages)).some((image) => image.name === name)
}

/** Imports an image that nobody can boot. */
export async function importImage(world: World, name: string, key?: string): Promise<void> {
  const path = join(world.place.base, 'disk.raw')
  await writeFile(path, Buffer.alloc(1024 * 1024, name))
  const body = { path, name, format: 'raw' } as const
  const job = await world.client.call(endpoints.importImage, { body, idempotencyKey: key })
  await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

/** Deletes an image where it is there. */
export async function removeImage(world: World, name: string): Promise<void> {
  await world.client.call(endpoints.deleteImage, { params: { image: name } }).catch(unless('image-not-found'))
}

/** Lets a refusal of one code pass. */
function unless(code: KvasirError['code']): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof KvasirError && error.code === code)) throw error
  }
}
