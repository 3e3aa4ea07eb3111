/** A guest of ours in libvirt's words: the same kernel, memory and devices, for comparisons. */

/** What differs between the guests that are compared. */
export interface DomainParts {
  readonly kernel: string
  readonly initrd: string
  readonly cmdline?: string
  readonly memoryMib: number
  /** A qcow2 file, as virt-install gives it to a guest. */
  readonly disk?: string
  /** A bridge that its NIC is on, as `virt-install --network bridge=` writes it. */
  readonly bridge?: string
}

/** The domain of a tiny guest: TCG, q35, serial, agent channel, entropy, balloon, VGA with VNC on a UNIX socket. */
export function domainXml(name: string, parts: DomainParts): string {
  return `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>${parts.memoryMib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>${parts.kernel}</kernel>
    <initrd>${parts.initrd}</initrd>
    <cmdline>${parts.cmdline ?? 'console=ttyS0 quiet reboot=t cryptomgr.notests nokaslr no_timer_check'}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='maximum'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>preserve</on_crash>
  <devices>
    <controller type='usb' model='none'/>
    <serial type='unix'>
      <source mode='bind' path='/var/lib/libvirt/qemu/${name}.serial'/><log file='/var/log/libvirt/qemu/${name}-serial.log' append='on'/>
    </serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='builtin'/></rng>
    <memballoon model='virtio' freePageReporting='on'/>
    <panic model='isa'/>
${diskOf(parts)}${nicOf(parts)}    <graphics type='vnc' socket='/var/lib/libvirt/qemu/${name}.vnc'/>
    <video><model type='vga'/></video>
  </devices>
</domain>
`
}

function diskOf({ disk }: DomainParts): string {
  if (disk === undefined) return ''
  return `    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='${disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
`
}

function nicOf({ bridge }: DomainParts): string {
  if (bridge === undefined) return ''
  return `    <interface type='bridge'>
      <source bridge='${bridge}'/>
      <model type='virtio'/>
    </interface>
`
}
