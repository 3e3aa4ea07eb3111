/** The guest agent's channel: a virtio-serial port under the name that qemu-guest-agent looks for. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'
import { serialBus } from './serial-bus.ts'

/** The arguments for the agent's channel. */
export function agentChannelArgs({ input, descriptors }: BuildContext): readonly string[] {
  if (!input.spec.devices.agent) return []
  const fd = descriptors.add({ kind: 'listener', socket: 'agent' })
  return [
    '-chardev',
    `socket,id=agent,fd=${fd},server=on,wait=off`,
    ...jsonOption('-device', {
      driver: 'virtserialport',
      id: 'agent-port',
      bus: serialBus,
      nr: 1,
      chardev: 'agent',
      name: 'org.qemu.guest_agent.0',
    }),
  ]
}
