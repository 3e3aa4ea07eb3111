/** The threads of a VM as rows: vCPUs, the emulator thread, I/O threads; with their pins, and what is known while it runs. */
import { ioThreadsOf, type Vm, type VmStatus } from '@kvasir/contract'

type Use = NonNullable<VmStatus['emulatorThread']>

/** One thread. What is not known is undefined. */
export interface ThreadRow {
  /** As `vm pin` takes it: the number of a vCPU, `emulator`, `vhost`, or the name of a disk. */
  readonly thread: string
  readonly kind: 'vCPU' | 'emulator' | 'I/O' | 'vhost'
  readonly pin: string | undefined
  readonly use: Use | undefined
}

/** The rows of a VM that runs or does not. Pins of vCPUs that are plugged later have a row too. */
export function threadRows({ spec, status }: Vm): readonly ThreadRow[] {
  const { cpu, disks } = spec
  const vcpus = new Set([
    ...Array.from({ length: cpu.count }, (_, index) => index),
    ...Object.keys(cpu.pin?.vcpus ?? {}).map(Number),
    ...(status.vcpus ?? []).map((vcpu) => vcpu.index),
  ])
  return [
    ...[...vcpus]
      .sort((a, b) => a - b)
      .map(
        (index): ThreadRow => ({
          thread: String(index),
          kind: 'vCPU',
          pin: cpu.pin?.vcpus[index],
          use: status.vcpus?.find((vcpu) => vcpu.index === index),
        }),
      ),
    { thread: 'emulator', kind: 'emulator', pin: cpu.pin?.emulator, use: status.emulatorThread },
    ...ioThreadsOf(disks).map(
      (name): ThreadRow => ({
        thread: name,
        kind: 'I/O',
        pin: cpu.pin?.ioThreads[name],
        use: status.ioThreads?.find((one) => one.disk === name),
      }),
    ),
    ...vhostRows({ spec, status }),
  ]
}

/** They are where the emulator's thread is, unless they have a pin of their own. */
function vhostRows({ spec, status }: Pick<Vm, 'spec' | 'status'>): readonly ThreadRow[] {
  const { pin } = spec.cpu
  const row = { thread: 'vhost', kind: 'vhost', pin: pin?.vhost ?? pin?.emulator } as const
  const uses = status.vhostThreads ?? []
  if (uses.length === 0 && pin?.vhost !== undefined) return [{ ...row, use: undefined }]
  return uses.map((use) => ({ ...row, use }))
}

/** The threads of a running VM in words, one line each; none for one that is off. */
export function threadLines(vm: Vm): readonly string[] {
  return threadRows(vm).flatMap(({ thread, kind, pin, use }) => {
    if (use === undefined) return []
    const subject = kind === 'vCPU' ? `vCPU ${thread}` : kind === 'I/O' ? `I/O ${thread}` : thread
    const parts = [
      `thread ${use.threadId}`,
      pin === undefined ? undefined : `pinned to ${pin}`,
      use.lastCpu === undefined ? undefined : `last on CPU ${use.lastCpu}`,
      use.policy === undefined || use.policy === 'other' ? undefined : use.policy,
      use.cpuSeconds === undefined ? undefined : `${use.cpuSeconds.toFixed(1)} s CPU`,
      use.waitSeconds === undefined ? undefined : `${use.waitSeconds.toFixed(1)} s waiting`,
    ]
    return [`${subject}  ${parts.filter((part) => part !== undefined).join(', ')}`]
  })
}

/** How a VM shares the host's CPUs with others, in words; undefined when it asks for nothing. */
export function sharingWords({ spec }: Vm): string | undefined {
  const { weight, quotaPercent, cpus, scheduler } = spec.cpu
  const parts = [
    weight === undefined ? undefined : `weight ${weight}`,
    quotaPercent === undefined ? undefined : `at most ${quotaPercent} % of a CPU`,
    cpus === undefined ? undefined : `on CPUs ${cpus}`,
    scheduler === undefined
      ? undefined
      : `policy ${scheduler.policy}${'priority' in scheduler ? ` ${scheduler.priority}` : ''}`,
  ].filter((part) => part !== undefined)
  return parts.length === 0 ? undefined : parts.join(', ')
}
