/** The table of `kvasir vm`. */
import type { Verbs } from '../command.ts'
import { detachFlag } from '../follow-job.ts'
import { createFlags } from '../vm/create-flags.ts'
import { deviceVerbs } from './vm-devices.ts'
import { exportVerb } from './vm-export.ts'

const name = { name: 'NAME', completes: 'vm' } as const
const file = { name: 'FILE', completes: 'file' } as const
const fromFile = {
  summary: 'Read name and spec from a YAML or JSON file; - is stdin.',
  value: 'FILE',
  short: 'f',
  completes: 'file',
} as const
const yes = { summary: 'Do not ask.', short: 'y' } as const
const followTimeout = {
  summary: 'How long the guest may take; 60 when not said.',
  value: 'SECONDS',
} as const
const lives = () => import('../vm/life.ts')

export const vmVerbs: Verbs = {
  list: { summary: 'All VMs.', load: async () => (await import('../vm/list.ts')).listVms },
  show: {
    summary: 'Spec and status of a VM.',
    examples: ['vm show web1', 'vm show web1 -o yaml'],
    arguments: [name],
    load: async () => (await import('../vm/show.ts')).showVm,
  },
  create: {
    summary: 'Create a VM, from flags or from a file.',
    examples: [
      'vm create web1 --image tiny --memory 512MiB --forward 8080:80 --start',
      'vm create db1 --image debian-13 --vcpus 2 --memory 2GiB --disk size=20GiB --user me --ssh-key ~/.ssh/id_ed25519.pub --forward 2222:22',
      'vm create -f vm.yaml',
    ],
    arguments: [{ name: 'NAME', optional: true }],
    flags: { ...createFlags, file: fromFile },
    load: async () => (await import('../vm/create.ts')).createVm,
  },
  apply: {
    summary: 'Make a VM what a file says: create or change it.',
    examples: ['vm show web1 -o yaml > web1.yaml', 'vm apply -f web1.yaml'],
    flags: { file: fromFile, ...detachFlag },
    load: async () => (await import('../vm/apply.ts')).applyFile,
  },
  plan: {
    summary: 'What applying a file would do, field by field.',
    examples: ['vm plan -f web1.yaml'],
    flags: { file: fromFile },
    load: async () => (await import('../vm/apply.ts')).planFile,
  },
  edit: {
    summary: 'Change the spec in $EDITOR.',
    examples: ['vm edit web1'],
    arguments: [name],
    flags: { yes },
    load: async () => (await import('../vm/edit.ts')).editVm,
  },
  set: {
    summary: 'Change fields of the spec, such as memory=4GiB vcpus=2 disks.root.cache=none.',
    examples: [
      'vm set web1 memory=4GiB vcpus=2',
      'vm set web1 disks.root.cache=none autostart=true',
      'vm set web1 devices.watchdog=true devices.keyboard=virtio',
      'vm set web1 description=',
      'vm set web1 max-vcpus=8 cpu.nested=true cpu.features.aes=false',
    ],
    arguments: [name, { name: 'FIELD=VALUE', rest: true }],
    flags: detachFlag,
    load: async () => (await import('../vm/set.ts')).setFields,
  },
  balloon: {
    summary: 'Take memory from the running guest by its balloon, or give it again.',
    examples: ['vm balloon web1 512MiB', 'vm balloon web1 all', 'vm balloon web1 1GiB --timeout 10'],
    arguments: [name, { name: 'SIZE' }],
    flags: { timeout: followTimeout, ...detachFlag },
    load: async () => (await import('../vm/memory.ts')).fillBalloon,
  },
  memory: {
    summary: 'Plug memory into the running guest or unplug it, up to memory.max.',
    examples: ['vm create web1 --image tiny --memory 1GiB --memory-max 8GiB --start', 'vm memory web1 4GiB'],
    arguments: [name, { name: 'SIZE' }],
    flags: { timeout: followTimeout, ...detachFlag },
    load: async () => (await import('../vm/memory.ts')).plugMemory,
  },
  place: {
    summary: 'Where a VM lies on its host, or would lie, and why.',
    examples: ['vm place web1 --explain', 'vm place -f web1.yaml --root ./capture --explain'],
    arguments: [{ ...name, optional: true }],
    flags: {
      explain: { summary: 'Say what was decided and why, and what was rejected.' },
      'dry-run': { summary: 'Plan it anew, as if it were started now; changes nothing.' },
      file: fromFile,
      near: {
        summary: 'A device of the host that the VM of the file is to lie near.',
        value: 'PCI-ADDRESS',
        multiple: true,
      },
      root: {
        summary: 'On a captured tree of /sys and /proc, without a daemon.',
        value: 'DIR',
        completes: 'file',
      },
    },
    load: async () => (await import('../vm/place.ts')).placeVm,
  },
  pin: {
    summary: 'Which CPUs of the host each thread of a VM may run on; without more, how it is now.',
    examples: [
      'vm pin web1',
      'vm pin web1 0 0-3,8,^2',
      'vm pin web1 emulator 4',
      'vm pin web1 vhost 6-7',
      'vm pin web1 root 5',
      'vm pin web1 0 any',
    ],
    arguments: [
      name,
      { name: 'THREAD', optional: true, completes: ['emulator', 'vhost'] },
      { name: 'CPUS', optional: true, completes: ['any'] },
    ],
    load: async () => (await import('../vm/pin.ts')).pinThread,
  },
  start: {
    summary: 'Start a VM, or resume a saved one.',
    arguments: [name],
    flags: detachFlag,
    load: async () => (await lives()).startVm,
  },
  shutdown: {
    summary: 'Ask the guest to shut down.',
    examples: ['vm shutdown web1', 'vm shutdown web1 --timeout 30 --escalate'],
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
    examples: ['vm save web1', 'vm start web1'],
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
  export: exportVerb,
  clone: {
    summary: 'Make a copy of a VM.',
    examples: ['vm clone web1 web2', 'vm clone web1 web2 --mode full'],
    arguments: [name, { name: 'NEW-NAME' }],
    flags: {
      mode: {
        summary:
          'linked shares the disks of the original, full copies them; each as its pool can unless said.',
        value: 'MODE',
        completes: ['linked', 'full'],
      },
      ...detachFlag,
    },
    load: async () => (await lives()).cloneVm,
  },
  delete: {
    summary: 'Delete a VM; its disks stay unless --disks is given.',
    examples: ['vm delete web1 --disks --yes'],
    arguments: [name],
    flags: { disks: { summary: 'Delete its disks too.' }, yes },
    load: async () => (await lives()).deleteVm,
  },
  console: {
    summary: 'The serial console. Ctrl-] leaves it.',
    examples: ['vm console web1', 'vm console web1 --read-only', 'vm console web1 --take-over'],
    arguments: [name],
    flags: {
      'read-only': { summary: 'Only watch.' },
      'take-over': { summary: 'Write, even when somebody else does.' },
    },
    load: async () => (await import('../console/attach.ts')).attachConsole,
  },
  log: {
    summary: 'The end of the serial console’s or the emulator’s log.',
    examples: ['vm log web1', 'vm log web1 --source emulator --bytes 4KiB'],
    arguments: [name],
    flags: {
      source: { summary: 'Which log.', value: 'SOURCE', completes: ['serial', 'emulator'] },
      bytes: { summary: 'How much of it, such as 64KiB.', value: 'SIZE' },
    },
    load: async () => (await import('../vm/guest.ts')).printLog,
  },
  screenshot: {
    summary: 'The display as a PNG file; - is stdout.',
    examples: ['vm screenshot web1 web1.png'],
    arguments: [name, { ...file, optional: true }],
    load: async () => (await import('../vm/guest.ts')).saveScreenshot,
  },
  vnc: {
    summary: 'The display, for a VNC viewer of this machine, until Ctrl-C.',
    examples: ['vm vnc web1', 'vm vnc web1 --listen 5901'],
    arguments: [name],
    flags: {
      listen: {
        summary: 'Where to listen; a free port of 127.0.0.1 when not said.',
        value: '[ADDRESS:]PORT',
      },
    },
    load: async () => (await import('../vm/vnc.ts')).serveDisplay,
  },
  spice: {
    summary: 'The display, for a SPICE viewer of this machine, until Ctrl-C; FILE is for remote-viewer.',
    examples: ['vm spice web1 web1.vv', 'vm spice web1 --listen 5930 > web1.vv'],
    arguments: [name, { ...file, optional: true }],
    flags: {
      listen: {
        summary: 'Where to listen; a free port of 127.0.0.1 when not said.',
        value: '[ADDRESS:]PORT',
      },
    },
    load: async () => (await import('../vm/spice.ts')).serveSpice,
  },
  'send-key': {
    summary: 'Press keys of the guest’s keyboard, together where a - is between.',
    examples: ['vm send-key web1 ctrl-alt-delete', 'vm send-key web1 r o o t ret'],
    arguments: [name, { name: 'KEY', rest: true }],
    load: async () => (await import('../vm/send-keys.ts')).sendKeys,
  },
  ssh: {
    summary: 'Open a shell in the guest with ssh, or run a command there.',
    examples: ['vm ssh web1', 'vm ssh --user me web1 uptime'],
    arguments: [name, { name: 'SSH-ARGUMENT', rest: true, optional: true }],
    flags: { user: { summary: 'The user of the guest.', value: 'USER', short: 'u' } },
    passThrough: true,
    load: async () => (await import('../vm/ssh.ts')).openSsh,
  },
  exec: {
    summary: 'Run a command through the guest agent; its output and exit code are passed on.',
    examples: [
      'vm exec web1 -- uname -a',
      "vm exec web1 -- sh -c 'df -h | tail -1'",
      'vm exec --stdin web1 sh < script.sh',
    ],
    arguments: [name, { name: 'COMMAND', rest: true }],
    flags: {
      timeout: { summary: 'How long it may take; 60 when not said.', value: 'SECONDS' },
      stdin: { summary: 'Give it what comes on stdin, up to 1 MiB of text.', short: 'i' },
    },
    passThrough: true,
    load: async () => (await import('../vm/guest.ts')).execInGuest,
  },
  top: {
    summary: 'What the VMs use, refreshed; q leaves.',
    load: async () => (await import('../vm/top.ts')).showTop,
  },
  ...deviceVerbs,
}
