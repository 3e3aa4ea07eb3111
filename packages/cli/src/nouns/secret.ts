/** The table of `kvasir secret`. */
import type { Verbs } from '../command.ts'

const secret = { name: 'SECRET' } as const
const actions = () => import('../secret/secrets.ts')

export const secretVerbs: Verbs = {
  list: { summary: 'All secrets, and who needs them.', load: async () => (await actions()).listSecrets },
  show: {
    summary: 'What is known of a secret; what it is, nobody is told.',
    arguments: [secret],
    load: async () => (await actions()).showSecret,
  },
  create: {
    summary: 'Keep a key or a passphrase that storage asks for.',
    examples: [
      'secret create ceph-key --file /root/ceph.key',
      'secret create chap --file - <password.txt',
      'secret create disk-key --generate',
    ],
    arguments: [secret],
    flags: {
      file: {
        summary: 'What it is, in a file; - is stdin. A line break at its end is left out.',
        value: 'FILE',
        completes: 'file',
      },
      generate: { summary: 'Make one that nobody ever sees.' },
    },
    load: async () => (await actions()).createSecret,
  },
  set: {
    summary:
      'Give a secret another value, as when a key was changed in a cluster. Pools use it from their next look on.',
    examples: ['secret set ceph-key --file /root/ceph.key'],
    arguments: [secret],
    flags: {
      file: {
        summary: 'What it is from now on, in a file; - is stdin. A line break at its end is left out.',
        value: 'FILE',
        completes: 'file',
      },
    },
    load: async () => (await actions()).setSecret,
  },
  delete: {
    summary: 'Delete a secret that nobody needs.',
    arguments: [secret],
    flags: { yes: { summary: 'Do not ask.', short: 'y' } },
    load: async () => (await actions()).deleteSecret,
  },
}
