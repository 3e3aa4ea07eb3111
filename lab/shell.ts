/**
 * A shell in the lab on this terminal.
 *
 * The terminal inside is made by socat, since Node has none to offer; it is told the size of the one outside, and again when that
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

  const sizeNow = () => `rows ${stdout.rows} cols ${stdout.columns}`
  const terminalFile = `/run/kvasir-lab/terminal-${process.pid}`
  const tellSize = () => {
    void session.shell(`stty -F "$(cat ${terminalFile})" ${sizeNow()}`).catch(() => {}) // The shell has just ended.
  }
  const begin = `tty >${terminalFile}; stty ${sizeNow()}; exec bash -i`
  stdin.setRawMode(true)
  stdout.on('resize', tellSize)
  try {
    const { code } = await session.run({
      argv: ['socat', '-', `EXEC:"/bin/bash -c \\"$BEGIN\\"",pty,setsid,ctty,stderr,sane`],
      env: { KVASIR_LAB: '1', TERM: process.env['TERM'] ?? 'linux', BEGIN: begin },
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
