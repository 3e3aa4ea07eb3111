/**
 * Who a TPM is: the endorsement key that it derives from a seed, which it was given when it was made and which nothing but its state holds.
 * A TPM that was made anew is somebody else. The state is copied, so that it is asked while it is in use.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from './eventually.ts'

const upMs = 10_000
const headerBytes = 10

/** TPM2_CreatePrimary under the endorsement hierarchy, of an ECC key on P-256 (TPM 2.0 Library, part 3, section 24.1). */
const createPrimary = command(0x131, [
  '4000000b', // TPM_RH_ENDORSEMENT
  '00000009 40000009 0000 00 0000', // One session: a password, which is empty.
  '0004 0000 0000', // Nothing that is secret is given.
  '001a 0023 000b 00030072 0000', // ECC, SHA-256; restricted, decrypts, fixed; no policy.
  '0006 0080 0043 0010 0003 0010 0000 0000', // AES-128-CFB, no scheme, P-256, no KDF; no point.
  '0000 00000000',
])

function command(code: number, parts: readonly string[]): Buffer {
  const body = Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')
  const header = Buffer.alloc(headerBytes)
  header.writeUInt16BE(0x8002) // TPM_ST_SESSIONS
  header.writeUInt32BE(headerBytes + body.length, 2)
  header.writeUInt32BE(code, 6)
  return Buffer.concat([header, body])
}

/** A digest of the public key of the TPM whose state lies in a folder. */
export async function tpmIdentity(folder: string): Promise<string> {
  const base = await mkdtemp(join(tmpdir(), 'kvt-'))
  const socketPath = join(base, 'socket')
  try {
    await cp(folder, join(base, 'state'), { recursive: true, filter: (path) => !path.endsWith('.lock') })
    const state = ['--tpmstate', `dir=${join(base, 'state')}`]
    const flags = ['--terminate', '--flags', 'not-need-init,startup-clear']
    const server = ['--server', `type=unixio,path=${socketPath}`]
    const child = spawn('swtpm', ['socket', '--tpm2', ...state, ...server, ...flags], { stdio: 'ignore' })
    const ended = once(child, 'exit')
    try {
      return await ask(socketPath)
    } finally {
      child.kill('SIGKILL')
      await ended
    }
  } finally {
    await rm(base, { recursive: true })
  }
}

async function ask(path: string): Promise<string> {
  const socket = await eventually(() => connected(path), {
    withinMs: upMs,
    everyMs: 20,
    what: 'swtpm serves',
  })
  socket.write(createPrimary)
  let answer = Buffer.alloc(0)
  for await (const chunk of socket) {
    answer = Buffer.concat([answer, chunk])
    if (answer.length >= headerBytes && answer.length >= answer.readUInt32BE(2)) break
  }
  const code = answer.length < headerBytes ? 'nothing' : answer.readUInt32BE(6)
  if (code !== 0) throw new Error(`The TPM answered ${code}.`)
  // After header, handle and size of the parameters comes the public part, with its size.
  const publicAt = headerBytes + 8
  const end = publicAt + 2 + answer.readUInt16BE(publicAt)
  return createHash('sha256').update(answer.subarray(publicAt, end)).digest('hex')
}

async function connected(path: string): Promise<Socket | undefined> {
  const socket = connect(path)
  return await once(socket, 'connect').then(
    () => socket,
    () => undefined,
  )
}
