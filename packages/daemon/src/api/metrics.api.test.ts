import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RunSample, VmSample } from '../services/host/collect-samples.ts'
import { createMetrics } from './metrics.ts'
import { startApi } from './testing/running-api.ts'

const run: RunSample = {
  memoryBytes: 400,
  residentBytes: 300,
  swappedBytes: 20,
  ksmBytes: 10,
  cpuSeconds: 1.5,
  vcpus: [{ index: 0, cpuSeconds: 1, waitSeconds: 0.25 }],
  disks: [
    {
      disk: 'root',
      source: 'web1-root',
      capacityBytes: 1000,
      readBytes: 1,
      writtenBytes: 2,
      readRequests: 3,
      writeRequests: 4,
      flushRequests: 5,
    },
  ],
  nics: [
    {
      nic: 'net0',
      tap: 'kvt1',
      bridge: 'kvb1',
      sentBytes: 6,
      sentPackets: 1,
      sendDrops: 0,
      receivedBytes: 7,
      receivedPackets: 2,
      receiveDrops: 8,
      ruleDrops: { guard: 9, limit: 10, isolation: 11 },
    },
  ],
}

function sample(name: string, given: Partial<VmSample> = {}): VmSample {
  const running = { state: 'running', run: Promise.resolve(run) } as const
  return { name, uuid: `uuid-${name}`, maximumMemoryBytes: 512, vcpuCount: 2, ...running, ...given }
}

test('a running VM is told in the names of the libvirt exporters', async () => {
  const { body, contentType } = await createMetrics({ collect: async () => [sample('web1')] }).render()

  assert.match(contentType, /^text\/plain/)
  const disk = '{domain="web1",target_device="root",source_file="web1-root"}'
  const nic = '{domain="web1",source_bridge="kvb1",target_device="kvt1"}'
  for (const line of [
    'libvirt_up 1',
    'libvirt_domain_info_maximum_memory_bytes{domain="web1"} 512',
    'libvirt_domain_info_memory_usage_bytes{domain="web1"} 400',
    'libvirt_domain_info_virtual_cpus{domain="web1"} 2',
    'kvasir_vm_resident_bytes{domain="web1"} 300',
    'kvasir_vm_swapped_bytes{domain="web1"} 20',
    'kvasir_vm_ksm_bytes{domain="web1"} 10',
    'libvirt_domain_info_cpu_time_seconds_total{domain="web1"} 1.5',
    `libvirt_domain_block_stats_read_bytes_total${disk} 1`,
    `libvirt_domain_block_stats_write_requests_total${disk} 4`,
    `libvirt_domain_block_stats_flush_requests_total${disk} 5`,
    `libvirt_domain_block_stats_capacity_bytes${disk} 1000`,
    `libvirt_domain_interface_stats_transmit_bytes_total${nic} 6`,
    `libvirt_domain_interface_stats_receive_drops_total${nic} 8`,
    'kvasir_vm_nic_rule_drops_total{domain="web1",target_device="kvt1",rule="guard"} 9',
    'kvasir_vm_nic_rule_drops_total{domain="web1",target_device="kvt1",rule="limit"} 10',
    'kvasir_vm_nic_rule_drops_total{domain="web1",target_device="kvt1",rule="isolation"} 11',
    'kvasir_vm_vcpu_wait_seconds_total{domain="web1",vcpu="0"} 0.25',
    '# TYPE libvirt_domain_info_cpu_time_seconds_total counter',
  ])
    assert.ok(body.split('\n').includes(line), `${line} in\n${body}`)
})

test('two scrapes tell the same counters, and a VM that is gone is told no more', async () => {
  let vms = [sample('web1'), sample('web2', { run: undefined, state: 'shutoff' })]
  const metrics = createMetrics({ collect: async () => vms })
  await metrics.render()

  const second = (await metrics.render()).body
  vms = []
  const third = (await metrics.render()).body

  assert.match(second, /cpu_time_seconds_total\{domain="web1"\} 1\.5\n/)
  assert.match(second, /kvasir_vm_info\{domain="web2",uuid="uuid-web2",state="shutoff",accelerator=""\} 1/)
  assert.doesNotMatch(second, /cpu_time_seconds_total\{domain="web2"\}/)
  assert.doesNotMatch(third, /web1|web2/)
})

test('an emulator that does not answer delays a scrape no longer than the deadline, and is counted', async () => {
  const never = new Promise<never>(() => {})
  const metrics = createMetrics({
    collect: async () => [
      sample('web1'),
      sample('mute', { run: never }),
      sample('broken', { run: Promise.reject(new Error('no answer')) }),
    ],
    deadlineMs: 50,
  })
  const begun = performance.now()

  const { body } = await metrics.render()

  assert.ok(performance.now() - begun < 2_000)
  assert.match(body, /kvasir_stale_vms 2\n/)
  assert.match(body, /cpu_time_seconds_total\{domain="web1"\} 1\.5/)
  assert.match(body, /maximum_memory_bytes\{domain="mute"\} 512/)
  assert.doesNotMatch(body, /cpu_time_seconds_total\{domain="mute"\}/)
})

test('collecting that fails or hangs is libvirt_up 0', async () => {
  const broken = createMetrics({ collect: () => Promise.reject(new Error('store')) })
  const hanging = createMetrics({ collect: () => new Promise(() => {}), deadlineMs: 20 })

  assert.match((await broken.render()).body, /libvirt_up 0/)
  assert.match((await hanging.render()).body, /libvirt_up 0/)
})

test('names that a label must escape stay one line', async () => {
  const { body } = await createMetrics({ collect: async () => [sample('a"b\\c\nd')] }).render()

  assert.ok(body.includes('domain="a\\"b\\\\c\\nd"'))
})

test('/metrics serves them', async () => {
  await using api = await startApi({ metrics: createMetrics({ collect: async () => [sample('web1')] }) })

  const answer = await api.send('/metrics')

  assert.equal(answer.status, 200)
  assert.match(answer.text, /libvirt_up 1/)
})

test('the memory of the host is told, and when it does not answer in time what it was', async () => {
  let isSlow = false
  const host = () =>
    isSlow
      ? new Promise<never>(() => {})
      : Promise.resolve({ totalBytes: 1000, availableBytes: 600, swapFreeBytes: 0, ksmSavedBytes: 50 })
  const metrics = createMetrics({ collect: async () => [], host, deadlineMs: 20 })

  assert.match((await metrics.render()).body, /^kvasir_host_ksm_saved_bytes 50$/m)
  isSlow = true
  assert.match((await metrics.render()).body, /^kvasir_host_memory_available_bytes 600$/m)
})
