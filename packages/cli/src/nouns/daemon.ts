/** `kvasir daemon`: becomes the daemon. */
import type { Verbs } from '../command.ts'

export const daemonCommand: Verbs = {
  '': {
    summary: 'Run the daemon in the foreground; its flags are passed on.',
    arguments: [{ name: 'FLAG', rest: true, optional: true }],
    passThrough: true,
    load: async () => (await import('../become-daemon.ts')).becomeDaemon,
  },
}
