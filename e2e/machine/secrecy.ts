/** Where a text is to be found that nobody may see: in the arguments of processes, in files, in answers of the API. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { endpoints } from '@kvasir/contract'
import type { World } from './world.ts'

const mostOutputBytes = 16 * 2 ** 20

/** The processes of the host whose arguments or environment hold a text. */
function processesWith(text: string): readonly string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    return ['cmdline', 'environ'].flatMap((name) => {
      try {
        return readFileSync(join('/proc', pid, name)).includes(text) ? [`${pid} ${name}`] : []
      } catch {
        return [] // It has ended meanwhile.
      }
    })
  })
}

/** The files of a world that hold a text, its store and logs among them, but for those in which secrets are kept. */
export function filesWith(world: World, text: string): readonly string[] {
  const find = [
    '-c',
    'grep -rlaF -D skip --exclude-dir=root -e "$1" "$2" || true',
    'sh',
    text,
    world.place.base,
  ]
  const found = execFileSync('/bin/sh', find, { encoding: 'utf8', maxBuffer: mostOutputBytes })
  return found.split('\n').filter((path) => path !== '' && !/\/secrets\/[^/]+$/.test(path))
}

/** The answers of the API that hold a text: whatever lists or shows something without being told more than names. */
async function answersWith({ client }: World, text: string): Promise<readonly string[]> {
  const asked = {
    secrets: await client.call(endpoints.listSecrets),
    volumes: await client.call(endpoints.listVolumes),
    pools: await client.call(endpoints.listPools),
    vms: await client.call(endpoints.listVms),
    jobs: await client.call(endpoints.listJobs),
    audit: await client.call(endpoints.getAudit),
    events: await client.call(endpoints.listEvents, { query: { after: 0 } }),
  }
  return Object.entries(asked).flatMap(([name, answer]) =>
    JSON.stringify(answer).includes(text) ? [name] : [],
  )
}

/** Fails when a text, or what it looks like in a command of the monitor or a dump, is anywhere that others can look. */
export async function assertNowhere(world: World, text: string): Promise<void> {
  for (const form of [text, Buffer.from(text).toString('base64'), Buffer.from(text).toString('hex')]) {
    assert.deepEqual(processesWith(form), [])
    assert.deepEqual(filesWith(world, form), [])
    assert.deepEqual(await answersWith(world, form), [])
  }
}

/** Which volumes of a world lie there in the clear, by the headers of their files. */
export async function volumesInTheClear({ client }: World): Promise<readonly string[]> {
  const volumes = await client.call(endpoints.listVolumes)
  assert.ok(volumes.length > 0)
  return volumes.flatMap(({ name, path = '' }) => {
    const info = execFileSync('qemu-img', ['info', '-U', '--output=json', path], { encoding: 'utf8' })
    return info.includes('"format": "luks"') ? [] : [name]
  })
}
