/** Everything that storage can do, on a Ceph of its own, through the command line (e2e/storage/steps.ts); apart from storage.e2e.ts for its time. */
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { runSteps } from '../storage/steps.ts'
import { rbdBackend } from '../storage/testing/server-backends.ts'

test(
  `every step of storage does on ${rbdBackend.name} what it says, and what the guest reads is what it wrote`,
  { skip: needs('root', 'qemu', 'ceph') },
  (t) => runSteps(t, rbdBackend),
)
