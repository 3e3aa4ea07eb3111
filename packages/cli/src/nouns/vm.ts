/** The table of `kvasir vm`. */
import type { Verbs } from '../command.ts'
import { detachFlag } from '../follow-job.ts'
import { createFlags } from '../vm/create-flags.ts'
import { deviceVerbs } from './vm-devices.ts'

const name = { name: 'NAME', completes: 'vm' } as const
const file = { name: 'FILE', completes: 'file' } as const
const fromFile = {
  summary: 'Read name and spec from a YAML or JSON file; - is stdin.',
  value: 'FILE',
  short: 'f',
  completes: 'file',
} as const
const yes = { summary: 'Do not ask.', short: 'y' } as const
const lives = () => import('../vm/life.ts')

export const vmVerbs: Verbs = {
  list: { summary: 'All VMs.', load: async () => (await import('../vm/list.ts')).listVms },
  show: {
    summary: 'Spec and status of a VM.',
    arguments: [name],
    load: async () => (await import('../vm/show.ts')).showVm,
  },
  create: {
    summary: 'Create a VM, from flags or from a file.',
    arguments: [{ name: 'NAME', optional: true }],
    flags: { ...createFlags, file: fromFile },
    load: async () => (await import('../vm/create.ts')).createVm,
  },
  apply: {
    summary: 'Make a VM what a file says: create or change it.',
    flags: { file: fromFile },
    load: async () => (await import('../vm/apply.ts')).applyFile,
  },
  plan: {
    summary: 'What applying a file would do, field by field.',
    flags: { file: fromFile },
    load: async () => (await import('../vm/apply.ts')).planFile,
  },
  edit: {
    summary: 'Change the spec in $EDITOR.',
    arguments: [name],
    flags: { yes },
    load: async () => (await import('../vm/edit.ts')).editVm,
  },
  set: {
    summary: 'Change fields of the spec, such as memory=4GiB vcpus=2 disks.root.cache=none.',
    arguments: [name, { name: 'FIELD=VALUE', rest: true }],
    load: async () => (await import('../vm/set.ts')).setFields,
  },
  start: {
    summary: 'Start a VM, or resume a saved one.',
    arguments: [name],
    flags: detachFlag,
    load: async () => (await lives()).startVm,
  },
  shutdown: {
    summary: 'Ask the guest to shut down.',
    arguments: [name],
    flags: {
      mode: { summary: 'How to ask.', value: 'MODE', completes: ['auto', 'agent', 'acpi'] },
      timeout: { summary: 'How long the guest may take.', value: 'SECONDS' },
      escalate: { summary: 'Cut the power when it takes longer.' },
      ...detachFlag,
    },
    load: async () => (await lives()).shutdownVm,
  },
  'power-off': { summary: 'Cut the power.', arguments: [name], load: async () => (await lives()).powerOffVm },
  reset: { summary: 'Press the reset button.', arguments: [name], load: async () => (await lives()).resetVm },
  reboot: {
    summary: 'Ask the guest to reboot.',
    arguments: [name],
    flags: detachFlag,
    load: async () => (await lives()).rebootVm,
  },
  pause: { summary: 'Stop the vCPUs.', arguments: [name], load: async () => (await lives()).pauseVm },
  resume: {
    summary: 'Let the vCPUs run again.',
    arguments: [name],
    load: async () => (await lives()).resumeVm,
  },
  save: {
    summary: 'Save memory to a file and stop.',
    arguments: [name],
    flags: detachFlag,
    load: async () => (await lives()).saveVm,
  },
  'discard-saved': {
    summary: 'Throw the saved memory away.',
    arguments: [name],
    load: async () => (await lives()).discardSavedVm,
  },
  rename: {
    summary: 'Give a VM another name.',
    arguments: [name, { name: 'NEW-NAME' }],
    load: async () => (await lives()).renameVm,
  },
  clone: {
    summary: 'Make a copy of a VM.',
    arguments: [name, { name: 'NEW-NAME' }],
    flags: {
      mode: {
        summary: 'linked shares the disks of the original, full copies them.',
        value: 'MODE',
        completes: ['linked', 'full'],
      },
      ...detachFlag,
    },
    load: async () => (await lives()).cloneVm,
  },
  delete: {
    summary: 'Delete a VM; its disks stay unless --disks is given.',
    arguments: [name],
    flags: { disks: { summary: 'Delete its disks too.' }, yes },
    load: async () => (await lives()).deleteVm,
  },
  console: {
    summary: 'The serial console. Ctrl-] leaves it.',
    arguments: [name],
    flags: {
      'read-only': { summary: 'Only watch.' },
      'take-over': { summary: 'Write, even when somebody else does.' },
    },
    load: async () => (await import('../console/attach.ts')).attachConsole,
  },
  log: {
    summary: 'The end of the serial console’s or the emulator’s log.',
    arguments: [name],
    flags: {
      source: { summary: 'Which log.', value: 'SOURCE', completes: ['serial', 'emulator'] },
      bytes: { summary: 'How much of it, such as 64KiB.', value: 'SIZE' },
    },
    load: async () => (await import('../vm/guest.ts')).printLog,
  },
  screenshot: {
    summary: 'The display as a PNG file; - is stdout.',
    arguments: [name, { ...file, optional: true }],
    load: async () => (await import('../vm/guest.ts')).saveScreenshot,
  },
  ssh: {
    summary: 'Open a shell in the guest with ssh, or run a command there.',
    arguments: [name, { name: 'SSH-ARGUMENT', rest: true, optional: true }],
    flags: { user: { summary: 'The user of the guest.', value: 'USER', short: 'u' } },
    passThrough: true,
    load: async () => (await import('../vm/ssh.ts')).openSsh,
  },
  exec: {
    summary: 'Run a command through the guest agent; its output and exit code are passed on.',
    arguments: [name, { name: 'COMMAND', rest: true }],
    flags: { timeout: { summary: 'How long it may take.', value: 'SECONDS' } },
    passThrough: true,
    load: async () => (await import('../vm/guest.ts')).execInGuest,
  },
  top: {
    summary: 'What the VMs use, refreshed; q leaves.',
    load: async () => (await import('../vm/top.ts')).showTop,
  },
  ...deviceVerbs,
}
