/**
 * slirp, QEMU's own user-mode networking, in place of passt: a QEMU without a machine, and a program between it and the guest, in a root of
 * their own (slirp-helper.pl), one of each per NIC. They end with the NIC's socket, as passt does.
 */
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { bindsLowPort, slirpArgs } from '../../model/qemu/slirp.ts'
import {
  helperError,
  type NetworkHelperRequest,
  ready,
  runHelper,
  type ServedNic,
} from './network-helper-process.ts'

const program = join(import.meta.dirname, 'slirp-helper.pl')
/** What the program puts in place of these letters: its QEMU's end of their socket. */
const descriptorPlace = '%FD%'
/** What a QEMU says that was built without it (net/net.c, of 7.2 and before), or that is not there (slirp-helper.pl). */
const withoutSlirp =
  /not compiled into|expects a netdev backend type|^\/\S+: (No such file|Permission denied)/m

/** Starts the QEMU at a path for a NIC and waits until it answers. `unsupported` where it has no slirp, or not such a forward. */
export async function startSlirp(
  qemu: string,
  { plan, fd }: ServedNic,
  request: NetworkHelperRequest,
): Promise<void> {
  const { otherwise = 'the VM was not started', trees, helperUid } = request
  const args = slirpArgs(plan, { fd: descriptorPlace, otherwise })
  const place = [String(helperUid), bindsLowPort(plan) ? '1' : '0', String(trees.length), ...trees]
  const argv = ['/usr/bin/perl', program, process.arch, ...place, qemu, ...args]
  const outcome = await runHelper(argv, { ...request, fd })
  if (outcome.ended === ready) return
  if (withoutSlirp.test(outcome.said))
    throw new KvasirError(
      'unsupported',
      `passt is not installed, which serves NIC ${plan.nic} in user mode, and QEMU has no network of its own (slirp) that could, so ${otherwise}; install the package passt, or put the NIC on a network.`,
      { details: { nic: plan.nic } },
    )
  throw await helperError(plan, outcome, request)
}
