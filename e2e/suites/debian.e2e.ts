/** A Debian of its own: built from the archive, booted from its disk, configured by cloud-init. Takes minutes without KVM. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { lacking, needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openWorld } from '../machine/world.ts'

const isSlowWanted = process.env['KVASIR_SLOW'] === '1'
const skip =
  needs('root', 'qemu', 'passt') ||
  (isSlowWanted ? false : lacking('slow', 'building and booting Debian takes minutes; KVASIR_SLOW=1 runs it'))

const buildMs = 15 * 60_000
const bootMs = 10 * 60_000
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFRoaXNJc05vS2V5QnV0QVRlc3RPZktleXNJblRlc3Rz somebody'

for (const recipe of ['debian-13', 'debian-12'] as const) {
  test(`${recipe} boots from its disk and is what cloud-init was told`, {
    skip,
    timeout: buildMs + bootMs,
  }, async (t) => {
    await using world = await openWorld(t)
    const building = performance.now()
    const job = await world.client.call(endpoints.buildImage, { body: { recipe } })
    await waitForJob(world.client, job, { signal: AbortSignal.timeout(buildMs) })
    t.diagnostic(`The image was built in ${Math.round((performance.now() - building) / 1000)} s.`)

    await world.client.call(endpoints.createVm, {
      body: {
        name: 'deb1',
        spec: {
          image: recipe,
          cpu: { count: 2 },
          memory: { size: '1GiB' },
          nics: [{ name: 'net0' }],
          cloudInit: { user: 'ada', sshKeys: [key], hostname: 'lovelace' },
        },
      },
    })
    const vm = world.vm('deb1')
    await vm.start()
    await eventually(
      async () => {
        assert.equal((await vm.stateAndReason()).split(':')[0], 'running', await vm.emulatorLog())
        return /lovelace login:/.test(await vm.serialLog()) ? true : undefined
      },
      {
        withinMs: bootMs,
        everyMs: 1_000,
        what: 'Debian shows its login prompt',
        isPassing: (error) => !(error instanceof assert.AssertionError),
      },
    )

    await vm.shell('cloud-init status --wait >/dev/null || true; test -d /home/ada')
    assert.equal(await vm.shell('hostname'), 'lovelace')
    assert.match(await vm.shell('cat /home/ada/.ssh/authorized_keys'), /ssh-ed25519/)
    assert.match(await vm.shell('. /etc/os-release; echo "$ID-$VERSION_ID"'), new RegExp(`^${recipe}$`))
    assert.equal(await vm.shell('systemctl is-active ssh'), 'active')
    await vm.shutdown({ timeoutSeconds: 180 })
    assert.equal(await vm.stateAndReason(), 'shutoff: it was shut down on request')
  })
}
