/**
 * A program in QEMU's place that answers as QEMU when it is asked what it is, and misbehaves when it is to run a VM.
 *
 * It lies below /usr, the only part of the host that a cage shows; disposing removes it.
 */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The program; give `path` as KVASIR_QEMU. */
export interface BrokenEmulator extends AsyncDisposable {
  readonly path: string
}

/** What it does, as lines of shell. `"$real" "$@"` is QEMU as it was asked for. */
export interface Misbehaviour {
  /** When it is to run a VM. */
  readonly run?: string
  /** When it is asked for its version and its machines. */
  readonly ask?: string
}

/** Makes the program. */
export async function breakEmulator({ run, ask }: Misbehaviour): Promise<BrokenEmulator> {
  const folder = await mkdtemp('/usr/local/lib/kvasir-e2e-')
  const path = join(folder, 'qemu-system-x86_64')
  const lines = [
    '#!/bin/sh',
    'real=/usr/bin/qemu-system-x86_64',
    `case " $* " in *" -uuid "*) ${run ?? ':'} ;; *) ${ask ?? ':'} ;; esac`,
    'unset PWD OLDPWD', // The shell exports them; an emulator's environment is empty.
    'exec "$real" "$@"',
  ]
  await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o755 })
  await chmod(folder, 0o755)
  return {
    path,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
