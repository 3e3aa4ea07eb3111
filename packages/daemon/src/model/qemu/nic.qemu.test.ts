/** Whether QEMU knows what is said of a NIC, and has it so. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { vmSpec } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { planHardware } from '../pci/allocate.ts'
import { qemu7 } from './golden-case.ts'
import { planNic } from './nic.ts'
import { openMonitor } from './testing/plain-monitor.ts'

const limitMs = 20_000

test('a NIC has the MTU that is said, and no offloads where there are to be none', {
  skip: needs('qemu'),
}, async () => {
  await using undo = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kvn-'))
  undo.defer(() => rmSync(folder, { recursive: true, force: true }))
  const spec = vmSpec.parse({
    cpu: { count: 2 },
    nics: [{ name: 'lan', network: 'lan', queues: 4, mtu: 1400, offloads: 'off' }],
  })
  const input = {
    name: 'web1',
    uuid: '3c4f9f6a-7e43-4b0e-9d55-0c8a1f6f2b10',
    spec,
    hardware: planHardware(spec, undefined, { qemu: qemu7, vsockCid: 3 }),
    networks: { lan: { bridge: 'br', mtu: 1500 } },
    accelerator: 'tcg' as const,
    vhostNet: false,
  }
  const { bus: _bus, addr: _addr, ...device } = planNic(input, 'lan').device
  const netdev = { type: 'hubport', id: 'net-lan', hubid: 0 }
  const path = join(folder, 'monitor')
  const fixed = ['-nodefaults', '-no-user-config', '-display', 'none', '-S', '-accel', 'tcg', '-m', '16M']
  const own = ['-netdev', JSON.stringify(netdev), '-device', JSON.stringify(device)]
  const argv = [...fixed, '-machine', 'q35', '-qmp', `unix:${path},server=on,wait=off`, ...own]

  const child = spawn('qemu-system-x86_64', argv, {
    timeout: limitMs,
    killSignal: 'SIGKILL',
    stdio: 'inherit',
  })
  const ended = once(child, 'exit')
  undo.defer(async () => {
    child.kill('SIGKILL')
    await ended
  })
  while (!existsSync(path) && child.exitCode === null) await sleep(50) // QEMU is killed if it takes too long.
  const monitor = await openMonitor(path, { undo })
  const has = async (property: string) =>
    await monitor.ask('qom-get', { path: '/machine/peripheral/nic-lan', property })

  assert.deepEqual([await has('host_mtu'), await has('mq'), await has('vectors')], [1400, true, 10])
  for (const off of ['csum', 'gso', 'host_tso4', 'host_ufo', 'guest_csum', 'guest_tso6', 'guest_ecn'])
    assert.equal(await has(off), false, off)
  assert.equal(await has('mrg_rxbuf'), true)
})
