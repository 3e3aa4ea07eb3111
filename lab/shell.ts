/**
 * A shell in the lab on this terminal.
 *
 * The terminal inside is made by script(1), since Node has none to offer; it is told the size of the one outside, and again when that
 * changes. Without a terminal outside, the shell reads its commands from stdin.
 */
import type { AgentSession } from './machine/agent-session.ts'

/** Runs a shell until it ends, and gives its exit code. */
export async function openShell(session: AgentSession): Promise<number> {
  const { stdin, stdout, stderr } = process
  if (!(stdin.isTTY && stdout.isTTY)) {
    const { code } = await session.run({
      argv: ['/bin/bash', '--rcfile', '/root/.bashrc', '-s'],
      env: { KVASIR_LAB: '1' },
      stdin,
      stdout,
      stderr,
    })
    stdin.destroy()
    return code ?? 1
  }

  const terminalFile = `/run/kvasir-lab/terminal-${process.pid}`
  const tellSize = () => {
    void session
      .shell(`stty -F "$(cat ${terminalFile})" rows ${stdout.rows} cols ${stdout.columns}`)
      .catch(() => {}) // The shell has just ended.
  }
  stdin.setRawMode(true)
  stdout.on('resize', tellSize)
  try {
    const { code } = await session.run({
      argv: [
        'script',
        '--quiet',
        '--return',
        '--flush',
        '--command',
        `/usr/lib/kvasir-lab/terminal ${terminalFile} ${stdout.rows} ${stdout.columns}`,
        '/dev/null',
      ],
      env: { KVASIR_LAB: '1', TERM: process.env['TERM'] ?? 'linux' },
      stdin,
      stdout,
      stderr,
    })
    return code ?? 1
  } finally {
    stdout.off('resize', tellSize)
    stdin.setRawMode(false)
    stdin.destroy()
  }
}
