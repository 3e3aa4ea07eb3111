/**
 * The options that a kernel was booted with, as far as they decide what a host can do for VMs. A command line also holds what is
 * nobody's business, so nothing else of it leaves this file. Documented in the kernel's kernel-parameters.txt.
 */
import type { HostTree } from './host-tree.ts'

const wanted =
  /^(intel_iommu|amd_iommu|iommu(\.\w+)?|kvm([_-]\w+)?\.\w+|isolcpus|nohz_full|rcu_nocbs|nosmt|maxcpus|nr_cpus|numa|hugepages|hugepagesz|default_hugepagesz|transparent_hugepage|zswap\.\w+|psi|cgroup_no_v1|cgroup_disable|systemd\.unified_cgroup_hierarchy|mitigations|pci|pcie_acs_override)$/
const plainValue = /^[\w.,:+/-]{0,256}$/

/** The options that matter, in their order; an option without a value has an empty one. */
export function readKernelOptions(tree: HostTree): readonly (readonly [name: string, value: string])[] {
  const words = (tree.readText('/proc/cmdline') ?? '').split(/\s+/)
  const end = words.indexOf('--')
  return (end < 0 ? words : words.slice(0, end)).flatMap((word) => {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/.exec(word) ?? []
    return wanted.test(name) && plainValue.test(value) ? [[name, value] as const] : []
  })
}

/** The command line with nothing but the options that matter. */
export function keepKernelOptions(tree: HostTree): string {
  return readKernelOptions(tree)
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join(' ')
}
