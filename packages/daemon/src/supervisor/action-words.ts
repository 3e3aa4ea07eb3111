/** The actions on a VM in the words of sentences. */
import type { VmAction } from '@kvasir/contract'

/** What the use-cases call the actions, for sentences such as `VM web1 is paused, so it cannot be started.` */
export const participles: Readonly<Record<VmAction, string>> = {
  start: 'started',
  shutdown: 'shut down',
  'power-off': 'powered off',
  reset: 'reset',
  reboot: 'rebooted',
  pause: 'paused',
  resume: 'resumed',
  save: 'saved',
  memory: 'given or asked for memory',
  rename: 'renamed',
  clone: 'cloned',
  snapshot: 'given a snapshot',
  revert: 'brought back to a snapshot',
  merge: 'relieved of a layer of its disks',
  delete: 'deleted',
  'discard-saved': 'made to forget its saved memory',
  screenshot: 'photographed',
  exec: 'told to run a command',
  'send-keys': 'typed to',
  console: 'talked to',
}
