import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeKvm, type KvmFiles, type KvmSurroundings, type KvmTrial } from './judge-kvm.ts'

const working: KvmTrial = { device: 'usable', probe: { present: true, enabled: true } }

function files(more: Partial<KvmFiles> = {}): KvmFiles {
  const modules = [
    { name: 'kvm', parameters: {} },
    { name: 'kvm_intel', parameters: { nested: 'Y', ept: 'Y' } },
  ]
  return { modules, hasDevice: true, isKnown: true, ...more }
}

function host(more: Partial<KvmSurroundings> = {}): KvmSurroundings {
  return {
    architecture: 'x86_64',
    vendor: 'GenuineIntel',
    cpuFlags: ['lm', 'vmx'],
    kernel: '6.12.0',
    files: files(),
    trial: working,
    ...more,
  }
}

test('a host with everything can use KVM, and nested as its module says', () => {
  const judged = judgeKvm(host())

  assert.deepEqual(
    [judged.usable, judged.reason, judged.device, judged.nested, judged.remedy],
    [
      true,
      'kvm_intel is loaded, /dev/kvm opens, and KVM answered a probe emulator',
      'usable',
      'on',
      undefined,
    ],
  )
})

const without: KvmFiles = { modules: [], hasDevice: false, isKnown: true }
const unopened: KvmTrial = { device: 'missing', probe: 'not-run' }

const obstacles: readonly (readonly [
  what: string,
  at: Partial<KvmSurroundings>,
  reason: RegExp,
  remedy: RegExp,
])[] = [
  [
    'VT-x that firmware disabled',
    { cpuFlags: ['lm'], files: without, trial: unopened },
    /neither vmx nor svm: VT-x is disabled in the firmware/,
    /Enable Intel Virtualization Technology/,
  ],
  [
    'AMD-V that firmware disabled',
    { vendor: 'AuthenticAMD', cpuFlags: ['lm'], files: without, trial: unopened },
    /AMD-V \(SVM\) is disabled/,
    /SVM Mode/,
  ],
  [
    'a guest without nested virtualization',
    { cpuFlags: ['lm', 'hypervisor'], files: without, trial: unopened },
    /virtual machine itself/,
    /nested virtualization on .* hypervisor/,
  ],
  [
    'a software backend',
    {
      cpuFlags: ['lm', 'hypervisor'],
      files: files({ modules: [{ name: 'kvm_pvm', parameters: {} }] }),
      trial: { ...working, probe: 'not-run' },
    },
    /kvm_pvm, a software backend/,
    /nested/,
  ],
  [
    'a module that is not loaded',
    { files: without, trial: unopened },
    /kvm_intel is not loaded$/,
    /modprobe kvm_intel/,
  ],
  [
    'a module that the kernel has not',
    { files: { ...without, loadable: ['kvm', 'kvm_amd'] }, trial: unopened },
    /6\.12\.0 has none to load/,
    /linux-modules-extra/,
  ],
  ['a missing device node', { trial: unopened }, /there is no \/dev\/kvm/, /mknod/],
  [
    'missing permission',
    { trial: { device: 'denied', probe: 'not-run', permissions: 'mode 600, owner 0:0', user: 'me' } },
    /\(mode 600, owner 0:0\) does not open for user me/,
    /chmod 660/,
  ],
  ['a host without QEMU', { trial: { ...working, probe: 'not-run' } }, /no probe emulator/, /Install QEMU/],
  ['a probe that fails', { trial: { ...working, probe: 'failed' } }, /did not answer/, /dmesg/],
  [
    'a QEMU without KVM',
    { trial: { ...working, probe: { present: false, enabled: false } } },
    /built without KVM/,
    /KVASIR_QEMU/,
  ],
]

for (const [what, at, reason, remedy] of obstacles) {
  test(`${what} is told as the reason, with what to do`, () => {
    const judged = judgeKvm(host(at))

    assert.equal(judged.usable, false)
    assert.match(judged.reason, reason)
    assert.match(judged.remedy ?? '', remedy)
  })
}

test('of a captured host the files decide, and a capture without modules decides nothing', () => {
  const captured = judgeKvm(host({ trial: undefined }))
  const poor = judgeKvm(host({ trial: undefined, files: { modules: [], hasDevice: false, isKnown: false } }))

  assert.deepEqual([captured.usable, captured.device], [true, 'unknown'])
  assert.deepEqual([poor.usable, poor.nested, poor.remedy], [false, 'unknown', undefined])
  assert.match(poor.reason, /says nothing of modules/)
})

test('ARM needs no flag and no module of a vendor', () => {
  const judged = judgeKvm(
    host({ architecture: 'aarch64', vendor: '0x41', cpuFlags: ['fp'], files: files({ modules: [] }) }),
  )

  assert.equal(judged.usable, true)
})
