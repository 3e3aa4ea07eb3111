/** Programs of the host that tests make things with: disk images, mounts. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
const toolMs = 30_000

/** Runs a program of the host and gives what it printed. Throws with its words when it does not succeed. */
export async function runTool(program: string, ...argv: readonly string[]): Promise<string> {
  const { stdout } = await run(program, [...argv], {
    timeout: toolMs,
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
  })
  return stdout
}

/** Lays a small file system over a directory, so that it can be full. Disposing takes it away again. */
export async function coverWithTmpfs(directory: string, size: string): Promise<AsyncDisposable> {
  await runTool('mount', '-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'kvasir-test', directory)
  return {
    async [Symbol.asyncDispose]() {
      await runTool('umount', '-l', directory)
    },
  }
}
