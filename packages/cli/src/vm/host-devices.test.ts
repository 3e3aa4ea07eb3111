import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startScriptedDaemon } from '@kvasir/sdk/testing/scripted-daemon'
import { kvasir, script, vmNamed } from '../testing/run-command-line.ts'

const given = vmNamed('web1')
const vm = {
  ...given,
  spec: { ...given.spec, hostDevices: [{ name: 'net', vf: 'eth0', force: false, rom: true }] },
  status: { ...given.status, hostDevices: [{ name: 'net', address: '0000:02:10.1' }] },
}

test('host devices of a VM are listed, added in the words of their fields, and removed by name', async () => {
  await using daemon = await startScriptedDaemon({
    request: (asked) => (asked.path === '/v1/vms/web1' ? { json: vm } : script(asked)),
  })
  const putBy = async (...words: string[]) => {
    await kvasir(['vm', 'host-device', ...words], daemon)
    return JSON.stringify(daemon.asked.findLast(({ method }) => method === 'PUT')?.body)
  }

  const listed = await kvasir(['vm', 'host-device', 'list', 'web1'], daemon)

  assert.match(listed.stdout, /net +any VF of eth0 +0000:02:10\.1/)
  assert.match(
    await putBy('add', 'web1', '01:00.1,with=gpu,romFile=/srv/x.rom'),
    /"name":"host0","address":"[^"]*01:00\.1","with":"gpu","romFile":"\/srv\/x\.rom"/,
  )
  assert.match(await putBy('remove', 'web1', 'net'), /"hostDevices":\[\]/)
  const none = await kvasir(['vm', 'host-device', 'remove', 'web1', 'gpu'], daemon)
  assert.match(none.stderr, /There is no host device "gpu".*\n.*net/)
})
