/** Everything that storage can do, on every backend in turn, through the command line (e2e/storage/steps.ts). */
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { dirBackend } from '../storage/dir-backend.ts'
import { runSteps } from '../storage/steps.ts'

const skip = needs('root', 'qemu')

for (const backend of [dirBackend('raw'), dirBackend('qcow2')])
  test(
    `every step of storage does on ${backend.name} what it says, and what the guest reads is what it wrote`,
    {
      skip,
    },
    (t) => runSteps(t, backend),
  )
