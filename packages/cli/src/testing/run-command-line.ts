/** Running the command line in tests: within the test's process or as one of its own, against a daemon with one VM. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Job, type Vm, vm as vmSchema, vmSpec } from '@kvasir/contract'
import type { Asked, Reply } from '@kvasir/sdk/testing/scripted-daemon'
import { dispatch } from '../dispatch.ts'

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const runTimeoutMs = 20_000

/** How a run ended and what it printed. */
export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The surroundings of a run. */
export interface RunOptions {
  readonly url?: string
  readonly input?: string
  readonly environment?: NodeJS.ProcessEnv
  /** Sent once stdout holds the text. */
  readonly interruptAfter?: string
}

/** Runs a command line within this process. */
export async function kvasir(
  words: readonly string[],
  options: { readonly url?: string } = {},
): Promise<Ran> {
  const written = { stdout: '', stderr: '' }
  const sink = (name: keyof typeof written) => ({
    write(text: string | Uint8Array): boolean {
      written[name] += typeof text === 'string' ? text : Buffer.from(text).toString()
      return true
    },
  })
  const code = await dispatch(words, {
    stdout: sink('stdout'),
    stderr: sink('stderr'),
    environment: { KVASIR_URL: options.url ?? 'unix:///nonexistent/k.sock' },
    signal: new AbortController().signal,
  })
  return { code, ...written }
}

/** Runs a command line as a process of its own: for what reads stdin, is interrupted, or starts other programs. */
export async function kvasirProcess(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...words], {
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], // Half of the time of a short run.
      KVASIR_URL: options.url ?? 'unix:///nonexistent/k.sock',
      ...options.environment,
    },
    timeout: runTimeoutMs,
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (options.interruptAfter !== undefined && stdout.includes(options.interruptAfter)) child.kill('SIGINT')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.end(options.input ?? '')
  const { promise, resolve } = Promise.withResolvers<Ran>()
  child.on('close', (code) => resolve({ code, stdout, stderr }))
  return await promise
}

/** A VM as the daemon shows it. */
export function vmNamed(name: string, state: Vm['status']['state'] = 'running'): Vm {
  return vmSchema.parse({
    name,
    uuid: '0190a2b0-0000-7000-8000-000000000001',
    revision: 3,
    createdAt: '2026-01-01T00:00:00Z',
    spec: vmSpec.parse({ disks: [{ name: 'root', image: 'tiny' }] }),
    status: { state, reason: 'as the test says', since: '2026-01-01T00:00:00Z' },
  })
}

/** A job that has just begun. */
export const job: Job = {
  id: '0190a2b0-0000-7000-8000-00000000000a',
  kind: 'vm.start',
  subject: { kind: 'vm', name: 'web1' },
  state: 'running',
  owner: 'root',
  step: 'starting the emulator',
  progress: 0.5,
  createdAt: '2026-01-01T00:00:00Z',
  deadlineAt: '2099-01-01T00:00:00Z',
}

/** A daemon with one VM, which knows enough to be changed. */
export function script({ method, path }: Asked): Reply {
  if (path === '/v1/vms' && method === 'GET') return { json: [vmNamed('web1')] }
  if (path === '/v1/vms' && method === 'POST') return { status: 201, json: vmNamed('web1', 'shutoff') }
  if (path === '/v1/vms/web1/start') return { status: 202, json: job }
  if (path.startsWith('/v1/jobs/')) return { json: { ...job, state: 'succeeded', step: 'done' } }
  if (path === '/v1/vms/web1/plan') return { json: { name: 'web1', action: 'change', changes: [] } }
  if (path === '/v1/vms/web1' && method === 'DELETE') return { status: 204, json: undefined }
  if (path === '/v1/vms/web1') return { json: vmNamed('web1') }
  if (path === '/v1/vms/web1/exec') {
    return { json: { exitCode: 7, stdout: 'out\n', stderr: 'err\n', truncated: false } }
  }
  if (path === '/v1/images/debian-13') return { json: { name: 'debian-13', boot: 'disk' } }
  return { refuse: 'vm-not-found', sentence: `There is no VM at ${path}.` }
}
