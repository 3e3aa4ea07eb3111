/** The tables of `kvasir host`, `kvasir status` and `kvasir audit`. */
import type { Verbs } from '../command.ts'

const actions = () => import('../host/host.ts')

export const hostVerbs: Verbs = {
  show: { summary: 'The machine the daemon runs on.', load: async () => (await actions()).showHost },
}

export const statusCommand: Verbs = {
  '': {
    summary: 'Daemon, accelerator and counts; exits 0 when healthy.',
    load: async () => (await actions()).showStatus,
  },
}

export const auditCommand: Verbs = {
  '': {
    summary: 'Compare the store with the machine; exits 0 when clean.',
    load: async () => (await actions()).showAudit,
  },
}
