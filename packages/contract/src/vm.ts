/** A VM as the API shows it: its spec, and its status. */
import { z } from 'zod'
import { diskLatency } from './disk-latency.ts'
import { vmMemory } from './memory-status.ts'
import { resourceName, uuid } from './names.ts'
import { macvtapModes } from './network.ts'
import { poolStates } from './pool.ts'
import { bytes, timestamp } from './units.ts'
import { vlanId, vlanTrunk } from './vlan.ts'
import { vmSpec } from './vm-spec.ts'
import { vmState } from './vm-state.ts'

const threadFields = {
  threadId: z.int(),
  cpuSeconds: z.number().optional(),
  waitSeconds: z.number().optional().meta({ description: 'Time in which it could have run and had no CPU.' }),
  lastCpu: z.int().optional(),
  cpus: z
    .string()
    .optional()
    .meta({ description: 'The CPUs that the kernel lets it run on, such as `0-3`.' }),
  policy: z.string().optional().meta({ description: 'Such as `other`, or `fifo:10` with its priority.' }),
}

const vcpuStatus = z.strictObject({ index: z.int(), ...threadFields }).meta({ id: 'VcpuStatus' })
const threadStatus = z.strictObject(threadFields).meta({ id: 'ThreadStatus' })
const ioThreadStatus = z.strictObject({ disk: z.string(), ...threadFields }).meta({ id: 'IoThreadStatus' })

const diskStatus = z
  .strictObject({
    disk: z.string(),
    readBytes: bytes,
    writtenBytes: bytes,
    readRequests: z.int(),
    writeRequests: z.int(),
    flushRequests: z.int(),
    latency: diskLatency.optional(),
    aio: z
      .strictObject({ mode: z.string(), reason: z.string() })
      .optional()
      .meta({ description: 'What carries its requests to the host, and why.' }),
    cache: z
      .strictObject({ mode: z.string(), reason: z.string() })
      .optional()
      .meta({ description: 'Whether its requests go through the page cache of the host, and why.' }),
  })
  .meta({ id: 'DiskStatus', description: 'What the guest asked of a disk since it has it.' })

const interfaceStatus = z
  .strictObject({
    name: z.string(),
    mac: z.string().optional(),
    addresses: z.array(z.string()),
  })
  .meta({ id: 'InterfaceStatus' })

const nicCounters = z
  .strictObject({
    sentBytes: bytes,
    sentPackets: z.int(),
    sendDrops: z.int(),
    receivedBytes: bytes,
    receivedPackets: z.int(),
    receiveDrops: z.int(),
  })
  .meta({
    id: 'NicCounters',
    description:
      "In the guest's words, since its tap was made; what the rules of its network drop counts as sent (ruleDrops).",
  })

const nicStatus = z
  .strictObject({
    nic: z.string(),
    network: z.string(),
    bridge: z.string().optional(),
    link: z
      .string()
      .optional()
      .meta({ description: 'On a network of mode macvtap, the link of the host that its cable leads to.' }),
    macvtapMode: z.enum(macvtapModes).optional(),
    tap: z.string().meta({ description: 'The link of the host that is its cable.' }),
    vlan: vlanId.optional(),
    trunk: vlanTrunk.optional(),
    uplinks: z.array(z.string()).meta({
      description: 'The links of the host by which packets leave the bridge, as they were last seen.',
    }),
    queues: z.int(),
    mtu: z.int().meta({ description: 'Of what its guest sends at most.' }),
    offloads: z.enum(['on', 'off']),
    vhost: z
      .boolean()
      .meta({ description: 'The kernel of the host moves its packets, and not the emulator.' }),
    addresses: z.array(z.string()).meta({
      description:
        'By the leases of the network, and those that the host knows by ARP and neighbour discovery.',
    }),
    counters: nicCounters.optional(),
    ruleDrops: z
      .strictObject({
        guard: z.int().meta({ description: 'Of what it sent, by antiSpoof.' }),
        limit: z.int().meta({ description: 'Both ways, by its limits.' }),
        isolation: z.int().meta({
          description:
            'Of what it sent, on the way to other isolated NICs; a packet for all is one for each of those.',
        }),
      })
      .optional()
      .meta({
        description: 'Packets that the rules of its network dropped, as they were last seen.',
      }),
  })
  .meta({ id: 'NicStatus' })

const userNicStatus = z
  .strictObject({
    nic: z.string(),
    server: z.enum(['passt', 'slirp']),
    reason: z.string().meta({ description: 'Why it is that one.' }),
  })
  .meta({
    id: 'UserNicStatus',
    description: 'A NIC in user mode, and which program serves it, beside the emulator.',
  })

const vfStatus = z
  .strictObject({
    nic: z.string(),
    network: z.string(),
    address: z.string().meta({ description: 'Of the virtual function that it is, on the host.' }),
    pf: z.string().meta({ description: 'The interface of the host that this is of.' }),
  })
  .meta({
    id: 'VfStatus',
    description: 'A NIC on a network of mode sriov, whose packets the host does not see.',
  })

const guestStatus = z
  .strictObject({
    agent: z.enum(['connected', 'absent']),
    hostname: z.string().optional(),
    os: z.string().optional(),
    interfaces: z.array(interfaceStatus),
  })
  .meta({ id: 'GuestStatus' })

/** What a VM is right now. */
export const vmStatus = z
  .strictObject({
    state: vmState,
    reason: z.string().meta({ description: 'Why it is in this state, in words.' }),
    since: timestamp,
    accelerator: z.enum(['kvm', 'tcg']).optional(),
    acceleratorReason: z.string().optional(),
    pid: z.int().optional(),
    startedAt: timestamp.optional(),
    uid: z.int().optional().meta({ description: 'The host UID that its emulator runs as.' }),
    cgroup: z.string().optional(),
    qemuVersion: z.string().optional(),
    machine: z.string().optional(),
    cpu: z
      .strictObject({
        model: z.string().meta({ description: 'What the model of the spec stands for here.' }),
        count: z.int().meta({ description: 'vCPUs that there are now.' }),
        max: z.int().meta({ description: 'vCPUs that there can be without a boot.' }),
      })
      .optional(),
    memoryBytes: bytes.optional(),
    balloonBytes: bytes.optional(),
    memory: vmMemory.optional(),
    residentBytes: bytes.optional(),
    vcpus: z.array(vcpuStatus).optional(),
    emulatorThread: threadStatus.optional(),
    ioThreads: z.array(ioThreadStatus).optional(),
    vhostThreads: z
      .array(threadStatus)
      .optional()
      .meta({ description: 'The threads of the kernel that move packets of its NICs.' }),
    disks: z.array(diskStatus).optional(),
    hostDevices: z
      .array(z.strictObject({ name: z.string(), address: z.string() }))
      .optional()
      .meta({ description: 'The devices of the host that it has.' }),
    nics: z.array(nicStatus).optional().meta({ description: 'Its NICs on networks.' }),
    userNics: z.array(userNicStatus).optional().meta({ description: 'Its NICs in user mode.' }),
    vfs: z.array(vfStatus).optional().meta({ description: 'Its NICs that are virtual functions.' }),
    guest: guestStatus.optional(),
    placement: z
      .string()
      .optional()
      .meta({ description: 'Where a VM that is placed lies, in a line; all of it: GET placement.' }),
    vsockCid: z
      .int()
      .optional()
      .meta({ description: 'Its address by vsock, which no other VM of the host has.' }),
    vncSocket: z.string().optional(),
    spiceSocket: z.string().optional(),
    renderNode: z.string().optional().meta({ description: 'The render node that its 3D is made on.' }),
    serialSocket: z.string().optional(),
    channels: z
      .array(
        z.strictObject({
          name: z.string(),
          socket: z.string(),
          open: z.boolean().meta({ description: 'A program of the guest has it open.' }),
        }),
      )
      .optional()
      .meta({ description: 'Its channels (devices.channels), each reached by a socket of the host.' }),
    restartNeeded: z
      .array(z.string())
      .optional()
      .meta({ description: 'Fields whose change waits for the next boot.' }),
    restartReasons: z
      .record(z.string(), z.string())
      .optional()
      .meta({ description: 'Why they wait, by the field; not for every one, and only while the VM runs.' }),
    poolTrouble: z
      .array(
        z.strictObject({
          pool: resourceName,
          state: z.enum(poolStates),
          reason: z.string(),
          disks: z.array(resourceName),
        }),
      )
      .optional()
      .meta({ description: 'Pools of its disks that cannot be used now, and why.' }),
    lostDevices: z
      .array(z.strictObject({ device: z.string(), since: z.iso.datetime(), reason: z.string() }))
      .optional()
      .meta({
        description:
          'Devices whose process on the host has ended, or that were taken from the host, and what to do about it.',
      }),
    cageLimits: z
      .array(z.string())
      .optional()
      .meta({ description: 'What this host cannot enforce, and why.' }),
    job: uuid.optional().meta({ description: 'The job that is working on it.' }),
    exit: z
      .strictObject({ code: z.int().optional(), signal: z.string().optional(), log: z.string() })
      .optional()
      .meta({ description: 'How the last emulator ended, when it ended unasked.' }),
  })
  .meta({ id: 'VmStatus' })

/** A VM. */
export const vm = z
  .strictObject({
    name: resourceName,
    uuid,
    revision: z.int().meta({ description: 'Grows with each change of the spec; the ETag.' }),
    createdAt: timestamp,
    spec: vmSpec,
    status: vmStatus,
  })
  .meta({ id: 'Vm' })

export type Vm = z.output<typeof vm>
export type VmStatus = z.output<typeof vmStatus>

/** The effect of one changed field of a spec. */
export const planChange = z
  .strictObject({
    field: z.string(),
    from: z.unknown(),
    to: z.unknown(),
    effect: z.enum(['live', 'next-boot', 'refused']),
    reason: z.string(),
  })
  .meta({ id: 'PlanChange' })

/** What applying a spec would do, field by field. */
export const vmPlan = z
  .strictObject({
    name: resourceName,
    action: z.enum(['create', 'change', 'nothing', 'refused']),
    changes: z.array(planChange),
  })
  .meta({ id: 'VmPlan' })

export type PlanChange = z.output<typeof planChange>
export type VmPlan = z.output<typeof vmPlan>
