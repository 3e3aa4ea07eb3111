/**
 * The NoCloud seed of a VM: three documents that cloud-init reads at a guest's first boot, and the volume they are carried on
 * (cloud-init documentation, "NoCloud" and "Networking config Version 2").
 *
 * The same input gives the same bytes, and a new instance id is what makes
 * cloud-init treat the next boot as a first one.
 *
 * Not here: writing the file (the pool), how the disk is attached (model/qemu).
 */
import type { CloudInitSpec } from '@kvasir/contract'
import { stringify } from 'yaml'
import { writeIso9660 } from './iso9660.ts'

/** What a seed says; `instanceId` is what cloud-init remembers, `hostname` may be a VM's name. */
export interface SeedInput extends Omit<CloudInitSpec, 'hostname'> {
  readonly instanceId: string
  readonly hostname: string
}

/** The documents by the file names that NoCloud prescribes; `network-config` is left out where there is none. */
export interface SeedDocuments {
  readonly 'user-data': string
  readonly 'meta-data': string
  readonly 'network-config'?: string
}

/** The label by which cloud-init finds a seed. */
const seedLabel = 'cidata'

const seedTime = new Date(Date.UTC(2000, 0, 1))

/** Builds the documents; `userData` is used as it is in place of the user, the keys and the password. */
export function buildSeedDocuments(input: SeedInput): SeedDocuments {
  // A VM's name may hold underscores, which a hostname may not (RFC 1123).
  const hostname = input.hostname.replaceAll('_', '-')
  const documents = {
    'user-data': input.userData ?? `#cloud-config\n${stringify(cloudConfig(input, hostname))}`,
    'meta-data': stringify({ 'instance-id': input.instanceId, 'local-hostname': hostname }),
  }
  if (input.network === undefined) return documents
  // NoCloud takes the document with or without the key `network` around it.
  return { ...documents, 'network-config': stringify(input.network) }
}

/** Builds the volume with the documents, ready to be attached as a disk. */
export function buildSeed(input: SeedInput): Uint8Array {
  const files = Object.entries(buildSeedDocuments(input)).map(([name, text]) => ({
    name,
    content: Buffer.from(String(text)),
  }))
  return writeIso9660({ label: seedLabel, files, time: seedTime })
}

function cloudConfig(spec: SeedInput, hostname: string): Record<string, unknown> {
  return {
    hostname,
    manage_etc_hosts: true,
    ...(spec.user === 'root' ? rootAccess(spec) : userAccess(spec)),
    ssh_pwauth: false,
  }
}

/** Without a user of its own the image's default user gets the keys and the password. */
function userAccess(spec: SeedInput): Record<string, unknown> {
  if (spec.user === undefined) {
    const password = spec.passwordHash && { user: { lock_passwd: false, passwd: spec.passwordHash } }
    return { ssh_authorized_keys: spec.sshKeys, ...password }
  }
  return {
    users: [
      {
        name: spec.user,
        shell: '/bin/bash',
        groups: ['sudo'],
        sudo: 'ALL=(ALL) NOPASSWD:ALL',
        ssh_authorized_keys: spec.sshKeys,
        lock_passwd: spec.passwordHash === undefined,
        ...(spec.passwordHash === undefined ? {} : { passwd: spec.passwordHash }),
      },
    ],
  }
}

function rootAccess(spec: SeedInput): Record<string, unknown> {
  return {
    disable_root: false,
    users: [
      {
        name: 'root',
        lock_passwd: spec.passwordHash === undefined,
        ssh_authorized_keys: spec.sshKeys,
        ...(spec.passwordHash === undefined ? {} : { hashed_passwd: spec.passwordHash }),
      },
    ],
  }
}
