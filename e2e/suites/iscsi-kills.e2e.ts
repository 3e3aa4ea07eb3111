/**
 * Kills at random moments while a guest writes to a disk on a LUN, and snapshots, moves, exports, uploads and sizes come and go
 * (crash-served.ts). `KVASIR_CRASH_ROUNDS=N` for more.
 */
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { playServedRounds } from '../machine/crash-served.ts'
import { servedRounds } from '../machine/crash-share.ts'
import { iscsiBackend } from '../storage/testing/server-backends.ts'

const rounds = servedRounds(process.env, 0)

test(
  'what a guest flushed to a LUN is there whatever is killed',
  {
    skip: rounds === 0 ? 'another backend has its turn' : needs('root', 'qemu', 'tgt'),
    timeout: 180_000 + rounds * 60_000,
  },
  (t) => playServedRounds(t, iscsiBackend, rounds),
)
