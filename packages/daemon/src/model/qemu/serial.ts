/** The serial console: a 16550 on a listening socket; all it says also goes to the VM's serial log, watched or not. */
import type { DescriptorList } from './descriptor-list.ts'
import { jsonOption } from './options.ts'

/** The arguments for the serial console. */
export function serialArgs(descriptors: DescriptorList): readonly string[] {
  const fd = descriptors.add({ kind: 'listener', socket: 'serial' })
  const log = descriptors.addSet({ kind: 'serial-log' }, 'serial-log')
  return [
    ...log.args,
    '-chardev',
    `socket,id=serial,fd=${fd},server=on,wait=off,logfile=${log.path},logappend=on`,
    ...jsonOption('-device', { driver: 'isa-serial', id: 'serial0', chardev: 'serial', index: 0 }),
  ]
}
