/** What the kernel's files say of KVM: modules and their parameters, whether the device exists. Not here: opening it. */
import type { HostTree } from './host-tree.ts'

const moduleFolder = '/sys/module'
const parameterPattern = /^\w{1,64}$/

export interface KvmReading {
  /** kvm and what implements it, such as kvm_intel; built in or loaded. */
  readonly modules: readonly {
    readonly name: string
    readonly parameters: Readonly<Record<string, string>>
  }[]
  /** Whether the tree shows modules at all, as a capture of CPUs alone does not. */
  readonly isKnown: boolean
  /** Whether the kernel has made the device, which udev shows as /dev/kvm. */
  readonly hasDevice: boolean
  /** Modules of KVM that this kernel could load; undefined where its modules are not to be seen. */
  readonly loadable?: readonly string[]
}

/** Reads what a tree says of KVM on a kernel of this release. */
export function readKvm(tree: HostTree, release: string): KvmReading {
  const names = tree.list(moduleFolder, /^kvm(_\w{1,32})?$/)
  const loadable = readLoadable(tree, release)
  return {
    isKnown: tree.list('/sys', /^module$/).length > 0,
    modules: names.map((name) => ({ name, parameters: readParameters(tree, name) })),
    hasDevice: tree.list('/sys/class/misc', /^kvm$/).length > 0,
    ...(loadable === undefined ? {} : { loadable }),
  }
}

function readParameters(tree: HostTree, module: string): Readonly<Record<string, string>> {
  const folder = `${moduleFolder}/${module}/parameters`
  const names = tree.list(folder, parameterPattern)
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = tree.readText(`${folder}/${name}`)
      return value === undefined ? [] : [[name, value] as const]
    }),
  )
}

function readLoadable(tree: HostTree, release: string): readonly string[] | undefined {
  if (!/^[\w.+~-]{1,128}$/.test(release)) return undefined
  const kernel = `/lib/modules/${release}/kernel`
  if (tree.list(kernel, /^arch$/).length === 0) return undefined
  const files = tree.list(`${kernel}/arch/x86/kvm`, /^kvm[\w-]*\.ko(\.\w+)?$/)
  return files.map((file) => file.replace(/\.ko.*$/, '').replaceAll('-', '_'))
}
