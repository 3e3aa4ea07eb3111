/** `kvasir vm channel`: the channels that a VM has. What is said on one: connect-channel.ts. */
import type { Vm } from '@kvasir/contract'
import type { Action } from '../command.ts'
import { changeSpec } from './change-spec.ts'
import { readVm, without } from './devices.ts'

/** A channel as it is listed: one that waits for the next boot has no socket. */
interface Channel {
  readonly name: string
  readonly socket?: string
  readonly open?: boolean
}

export const listChannels: Action = async (context) => {
  const vm = await readVm(context)
  await context.output.rows<Channel>(
    channelsOf(vm),
    [
      { title: 'CHANNEL', show: ({ name }) => name },
      { title: 'GUEST', show: ({ open }) => (open === undefined ? '-' : open ? 'open' : 'not open') },
      { title: 'SOCKET', show: ({ socket = '-' }) => socket },
    ],
    `VM ${vm.name} has no channels.`,
  )
  return undefined
}

function channelsOf({ spec, status }: Vm): readonly Channel[] {
  const there = status.channels ?? []
  const coming = (spec.devices.channels ?? []).filter((name) => !there.some((it) => it.name === name))
  return [...there, ...coming.map((name) => ({ name }))]
}

export const addChannel: Action = async (context) => {
  await changeSpec(context, (spec) => {
    const channels = [...(spec.devices.channels ?? []), context.argument('CHANNEL')]
    return { ...spec, devices: { ...spec.devices, channels } }
  })
  return undefined
}

export const removeChannel: Action = async (context) => {
  await changeSpec(context, (spec) => {
    const channels = (spec.devices.channels ?? []).map((name) => ({ name }))
    const kept = without(channels, context.argument('CHANNEL'), 'channel').map(({ name }) => name)
    return { ...spec, devices: { ...spec.devices, channels: kept } }
  })
  return undefined
}
