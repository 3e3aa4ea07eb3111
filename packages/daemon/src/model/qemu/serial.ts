/** The serial console: a 16550 on a listening socket; all it says also goes to the VM's serial log, watched or not. */
import type { DescriptorList } from './descriptor-list.ts'
import { serialLogDescriptor } from './emulator-plan.ts'
import { jsonOption, keyValues } from './options.ts'

/** The arguments for the serial console. */
export function serialArgs(descriptors: DescriptorList): readonly string[] {
  const fd = descriptors.add({ kind: 'listener', socket: 'serial' })
  const log = serialLogSet()
  return [
    ...log.args,
    '-chardev',
    `socket,id=serial,fd=${fd},server=on,wait=off,logfile=${log.path},logappend=on`,
    ...jsonOption('-device', { driver: 'isa-serial', id: 'serial0', chardev: 'serial', index: 0 }),
  ]
}

function serialLogSet(): { readonly path: string; readonly args: readonly string[] } {
  const options = { fd: serialLogDescriptor, set: serialLogDescriptor, opaque: 'serial-log' }
  return { path: `/dev/fdset/${serialLogDescriptor}`, args: ['-add-fd', keyValues(undefined, options)] }
}
