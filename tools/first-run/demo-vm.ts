/** The image and the VM that `npm start` shows: made when they are missing, taken as they are when they are there. */
import { setTimeout as sleep } from 'node:timers/promises'
import { endpoints, KvasirError, type Vm } from '@kvasir/contract'
import { type Client, waitForJob } from '@kvasir/sdk'
import { StartRefused } from './daemon.ts'
import type { Progress } from './progress.ts'

/** The name of the VM. */
export const demoName = 'demo'

const imageName = 'tiny'
const startWaitSeconds = 120
const transitionTimeoutMs = 120_000
const pollMs = 200

/** Builds the image `tiny` when there is none. */
export async function ensureTinyImage(client: Client, progress: Progress): Promise<void> {
  const images = await client.call(endpoints.listImages)
  if (images.some((image) => image.name === imageName)) return
  const job = await client.call(endpoints.buildImage, { body: { recipe: 'tiny' } })
  using shown = progress.begin(`Building the image ${imageName} from Debian's packages`)
  await waitForJob(client, job, { onProgress: (now) => shown.update(now.step, now.progress) })
}

/** The VM `demo`, running: created, started, resumed, or found as it runs. */
export async function ensureDemoRuns(client: Client, say: (line: string) => void): Promise<Vm> {
  const found = await findDemo(client)
  const demo = await settled(client, found ?? (await createDemo(client, say)))
  switch (demo.status.state) {
    case 'running':
      say(`VM ${demoName} still runs (pid ${demo.status.pid ?? '?'}, since ${demo.status.startedAt ?? '?'}).`)
      return demo
    case 'paused':
      say(`VM ${demoName} is paused (${demo.status.reason}); resuming it.`)
      return client.call(endpoints.resumeVm, { params: { name: demoName } })
    case 'shutoff':
    case 'crashed':
    case 'saved':
      return startDemo(client, say)
    case 'starting':
    case 'stopping':
    case 'unknown':
      throw new StartRefused(
        `VM ${demoName} is ${demo.status.state} (${demo.status.reason}), so it is left alone. Look with: ./kvasir vm show ${demoName}`,
      )
  }
}

async function findDemo(client: Client): Promise<Vm | undefined> {
  try {
    return await client.call(endpoints.getVm, { params: { name: demoName } })
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'vm-not-found') return undefined
    throw error
  }
}

async function createDemo(client: Client, say: (line: string) => void): Promise<Vm> {
  say(`Creating VM ${demoName}: 1 vCPU, 256 MiB, one NIC.`)
  const spec = {
    description: 'Made by npm start.',
    image: imageName,
    memory: { size: '256MiB' },
    nics: [{ name: 'net0' }],
  }
  return client.call(endpoints.createVm, { body: { name: demoName, spec } })
}

async function startDemo(client: Client, say: (line: string) => void): Promise<Vm> {
  say(`Starting VM ${demoName} ...`)
  const params = { name: demoName }
  const job = await client.call(endpoints.startVm, { params, query: { wait: startWaitSeconds } })
  await waitForJob(client, job)
  return client.call(endpoints.getVm, { params })
}

/** Waits until the VM is neither starting nor stopping. */
async function settled(client: Client, vm: Vm): Promise<Vm> {
  const deadline = performance.now() + transitionTimeoutMs
  let current = vm
  while (['starting', 'stopping'].includes(current.status.state) && performance.now() < deadline) {
    await sleep(pollMs)
    current = await client.call(endpoints.getVm, { params: { name: demoName } })
  }
  return current
}
