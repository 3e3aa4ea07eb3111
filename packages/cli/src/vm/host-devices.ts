/** `kvasir vm host-device`. */
import type { HostDeviceSpec } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { changeSpec } from './change-spec.ts'
import { parseHostDevice } from './device-words.ts'
import { freeName, without } from './devices.ts'

export const listHostDevices: Action = async (context) => {
  const { client, output, signal } = context
  const vm = await client.call(routes.getVm, { params: { name: context.argument('NAME') }, signal })
  const has = (name: string) => vm.status.hostDevices?.find((given) => given.name === name)?.address
  await output.rows<HostDeviceSpec>(
    vm.spec.hostDevices,
    [
      { title: 'DEVICE', show: ({ name }) => name },
      { title: 'WANTED', show: describeWanted },
      { title: 'HAS', show: ({ name }) => has(name) },
    ],
    `VM ${vm.name} has no devices of the host.`,
  )
  return undefined
}

export const addHostDevice: Action = async (context) => {
  await changeSpec(context, (spec) => {
    const words = context.argument('ADDRESS|KEY=VALUE,...')
    const device = parseHostDevice(words, freeName('host', spec.hostDevices))
    return { ...spec, hostDevices: [...spec.hostDevices, device] }
  })
  return undefined
}

export const removeHostDevice: Action = async (context) => {
  await changeSpec(context, (spec) => ({
    ...spec,
    hostDevices: without(spec.hostDevices, context.argument('DEVICE'), 'host device'),
  }))
  return undefined
}

function describeWanted({ address, vf, model }: HostDeviceSpec): string {
  return address ?? (vf === undefined ? `any ${model}` : `any VF of ${vf}`)
}
