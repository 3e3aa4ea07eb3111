/** Run by a test under supervised system calls: what comes of two programs, one without servers and one with. */
import { isAlive } from '@kvasir/linux'
import { ensureConnector } from '../connectors.ts'
import { openTestCages } from './test-cages.ts'

await using test = await openTestCages()
const { groups } = test.cages
const reach = { allowed: [] }
const sleep = { binary: '/usr/bin/sleep', args: ['300'] }

const without = await test.vm('without')
const { pid, identity, logged } = await test.cages.launch({ ...without.request, ...sleep })
await logged
const why = await ensureConnector({ groups, group: without.request.group, pid, reach })
console.log(`without: ${(await isAlive(identity)) ? 'alive' : 'ended'}, ${why}`)

const given = await test.vm('with')
const refusal = await test.cages
  .launch({ ...given.request, ...sleep, reach })
  .catch((error: unknown) => error)
console.log(`with: ${refusal instanceof Error ? refusal.message : 'it runs'}`)
