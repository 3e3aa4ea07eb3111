/** The first words of the command line, each with the table of what follows it, loaded when it is used. */
import type { Verbs } from './command.ts'

/** A noun with verbs, or a command of one word (whose table has the one row ''). */
export interface Noun {
  readonly kind: 'noun' | 'command'
  readonly summary: string
  readonly load: () => Promise<Verbs>
  /** Not shown and not completed. */
  readonly hidden?: boolean
}

/** Every noun and one-word command. */
export const nouns: Readonly<Record<string, Noun>> = {
  vm: {
    kind: 'noun',
    summary: 'Virtual machines.',
    load: async () => (await import('./nouns/vm.ts')).vmVerbs,
  },
  image: {
    kind: 'noun',
    summary: 'Images that VMs are made from.',
    load: async () => (await import('./nouns/image.ts')).imageVerbs,
  },
  snapshot: {
    kind: 'noun',
    summary: 'Points that the disks of a VM can return to.',
    load: async () => (await import('./nouns/snapshot.ts')).snapshotVerbs,
  },
  checkpoint: {
    kind: 'noun',
    summary: 'Moments since which it is known what changed on the disks of a VM.',
    load: async () => (await import('./nouns/checkpoint.ts')).checkpointVerbs,
  },
  pool: {
    kind: 'noun',
    summary: 'Where volumes lie.',
    load: async () => (await import('./nouns/pool.ts')).poolVerbs,
  },
  volume: {
    kind: 'noun',
    summary: 'Disks in pools.',
    load: async () => (await import('./nouns/volume.ts')).volumeVerbs,
  },
  network: {
    kind: 'noun',
    summary: 'Networks that guests are on.',
    load: async () => (await import('./nouns/network.ts')).networkVerbs,
  },
  secret: {
    kind: 'noun',
    summary: 'Keys and passphrases that storage asks for.',
    load: async () => (await import('./nouns/secret.ts')).secretVerbs,
  },
  job: {
    kind: 'noun',
    summary: 'Long actions: watch, wait for, cancel.',
    load: async () => (await import('./nouns/job.ts')).jobVerbs,
  },
  event: {
    kind: 'noun',
    summary: 'What happens, as it happens.',
    load: async () => (await import('./nouns/event.ts')).eventVerbs,
  },
  host: {
    kind: 'noun',
    summary: 'The machine the daemon runs on.',
    load: async () => (await import('./nouns/host.ts')).hostVerbs,
  },
  status: {
    kind: 'command',
    summary: 'Whether all is well; exits 0 when it is.',
    load: async () => (await import('./nouns/host.ts')).statusCommand,
  },
  audit: {
    kind: 'command',
    summary: 'Compare the store with the machine.',
    load: async () => (await import('./nouns/host.ts')).auditCommand,
  },
  daemon: {
    kind: 'command',
    summary: 'Run the daemon in the foreground.',
    load: async () => (await import('./nouns/daemon.ts')).daemonCommand,
  },
  completion: {
    kind: 'command',
    summary: 'Print the completion script of a shell.',
    load: async () => (await import('./nouns/completion.ts')).completionCommand,
  },
  complete: {
    kind: 'command',
    hidden: true,
    summary: 'What may follow on a command line.',
    load: async () => (await import('./nouns/completion.ts')).completeCommand,
  },
}
