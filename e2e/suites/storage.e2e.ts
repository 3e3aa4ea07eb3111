/** Everything that storage can do, on the backends that run on this machine (RBD: storage-rbd.e2e.ts), through the command line (e2e/storage/steps.ts). */
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { dirBackend } from '../storage/dir-backend.ts'
import { runSteps } from '../storage/steps.ts'
import { iscsiBackend } from '../storage/testing/server-backends.ts'

const here = needs('root', 'qemu')

for (const { backend, skip } of [
  { backend: dirBackend('raw'), skip: here },
  { backend: dirBackend('qcow2'), skip: here },
  { backend: iscsiBackend, skip: here || needs('tgt') },
])
  test(
    `every step of storage does on ${backend.name} what it says, and what the guest reads is what it wrote`,
    {
      skip,
    },
    (t) => runSteps(t, backend),
  )
