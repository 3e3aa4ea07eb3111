/**
 * Failpoints: named places before and after each side effect, at which a test can end, stop, slow or fail the daemon
 * (design decision 12). The table is closed: a point that is not in it cannot be hit, and the crash suite fails when a point of it
 * was never reached.
 */
export const failpointNames = [
  'vm.create.before-row',
  'vm.create.after-row',
  'vm.create.after-volume-file',
  'vm.create.before-ready',
  'vm.create.after-ready',
  'vm.start.before-intent',
  'vm.start.after-intent',
  'vm.start.after-seed',
  'vm.start.before-launch',
  'vm.start.after-launch',
  'vm.start.after-resume',
  'vm.start.after-state',
  'vm.restore.after-load',
  'vm.restore.after-forget',
  'emulator.launch.after-directory',
  'emulator.launch.after-memo',
  'emulator.launch.after-sockets',
  'emulator.launch.after-network',
  'emulator.launch.after-spawn',
  'emulator.launch.after-monitor',
  'emulator.launch.after-threads',
  'emulator.launch.after-seal',
  'emulator.end.before-kill',
  'emulator.end.after-kill',
  'emulator.end.after-cgroup',
  'emulator.end.after-directory',
  'vm.stop.before-intent',
  'vm.stop.after-intent',
  'vm.stop.after-end',
  'vm.stop.after-state',
  'vm.save.before-intent',
  'vm.save.after-intent',
  'vm.save.after-memory',
  'vm.save.after-file',
  'vm.save.after-row',
  'vm.save.after-state',
  'vm.clone.after-row',
  'vm.clone.after-volume-file',
  'vm.clone.before-ready',
  'vm.clone.after-ready',
  'vm.delete.before-phase',
  'vm.delete.after-phase',
  'vm.delete.after-clean',
  'vm.delete.after-volume-file',
  'vm.delete.before-row',
  'vm.delete.after-row',
] as const

export type FailpointName = (typeof failpointNames)[number]

/** Reaches a failpoint. Does nothing unless a test armed it. */
export type Failpoints = (name: FailpointName) => Promise<void>
