/**
 * Two monitors on sockets the daemon listens on for QEMU: one for commands and events, and one for the statistics collector, so that
 * a slow query never delays a command.
 */
import type { DescriptorList } from './descriptor-list.ts'
import type { ListenerName } from './emulator-plan.ts'

/** The arguments for both monitors. */
export function monitorArgs(descriptors: DescriptorList): readonly string[] {
  return [...monitor('monitor', descriptors), ...monitor('statistics', descriptors)]
}

function monitor(socket: ListenerName, descriptors: DescriptorList): readonly string[] {
  const fd = descriptors.add({ kind: 'listener', socket })
  return [
    '-chardev',
    `socket,id=${socket},fd=${fd},server=on,wait=off`,
    '-mon',
    `chardev=${socket},mode=control`,
  ]
}
