/**
 * `npm run dev`: the daemon on the simulated host, started anew when a source file changes. Needs neither root nor QEMU; its
 * socket and files are in .cache/dev.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { root } from './steps.ts'

const folder = join(root, '.cache/dev')
const daemon = spawn(
  process.execPath,
  [
    '--watch',
    '--watch-preserve-output',
    'packages/daemon/src/main.ts',
    '--simulated',
    ...process.argv.slice(2),
  ],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      KVASIR_STATE_DIR: process.env['KVASIR_STATE_DIR'] ?? join(folder, 'state'),
      KVASIR_RUNTIME_DIR: process.env['KVASIR_RUNTIME_DIR'] ?? join(folder, 'run'),
      KVASIR_LOG_DIR: process.env['KVASIR_LOG_DIR'] ?? join(folder, 'log'),
    },
  },
)

// Ctrl-C reaches the daemon by itself, as it does every process of the terminal; it ends in its own time.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => daemon.kill('SIGTERM'))
daemon.on('close', (code) => {
  process.exitCode = code ?? 1
})
