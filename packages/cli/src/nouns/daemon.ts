/** `kvasir daemon`: becomes the daemon. */
import type { Verbs } from '../command.ts'

/** The flags are kvasird's own (config.ts there), named here for people and for completion; all words are passed on as they are. */
export const daemonCommand: Verbs = {
  '': {
    summary:
      'Run the daemon in the foreground; its flags are passed on, and outrank the environment and the configuration file.',
    flags: {
      config: { summary: 'The configuration file; else KVASIR_CONFIG.', value: 'FILE', completes: 'file' },
      'state-dir': {
        summary: 'Store, pool and images; else KVASIR_STATE_DIR.',
        value: 'DIR',
        completes: 'file',
      },
      'runtime-dir': { summary: 'Sockets; else KVASIR_RUNTIME_DIR.', value: 'DIR', completes: 'file' },
      'log-dir': { summary: 'Logs of VMs; else KVASIR_LOG_DIR.', value: 'DIR', completes: 'file' },
      prefix: { summary: 'How names of cgroups and links begin; else KVASIR_PREFIX.', value: 'WORD' },
      qemu: { summary: 'The QEMU binary; else KVASIR_QEMU.', value: 'PATH', completes: 'file' },
      passt: {
        summary:
          'The passt of user-mode networking; else KVASIR_PASST. Where it is not, QEMU’s own stack (slirp) serves.',
        value: 'PATH',
        completes: 'file',
      },
      'socket-group': {
        summary: 'The group that may use the socket; else KVASIR_SOCKET_GROUP.',
        value: 'GROUP',
      },
      listen: { summary: 'Listen on TCP too; else KVASIR_LISTEN.', value: 'HOST:PORT' },
      uids: { summary: 'The UIDs for VMs, as FIRST:COUNT; else KVASIR_UIDS.', value: 'RANGE' },
      'default-network': {
        summary:
          'Whether the first start makes the network default: create or none; else KVASIR_DEFAULT_NETWORK.',
        value: 'WORD',
        completes: ['create', 'none'],
      },
      'log-level': { summary: 'How much is logged; else KVASIR_LOG_LEVEL.', value: 'LEVEL' },
      simulated: { summary: 'Serve a simulated host, which needs no root.' },
    },
    passThrough: true,
    arguments: [{ name: 'FLAG', rest: true, optional: true }],
    load: async () => (await import('../become-daemon.ts')).becomeDaemon,
  },
}
