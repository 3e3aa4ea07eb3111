/** User-mode networking: the guest has an address, the host reaches into it where that was asked, and not the other way. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

/** Those that can serve a NIC: passt where it is there, else QEMU's own stack. */
const servers = [
  { name: 'passt', environment: {}, skip: needs('root', 'qemu', 'passt') },
  { name: 'slirp', environment: { KVASIR_PASST: '/nonexistent/passt' }, skip: needs('root', 'qemu') },
]
const answerMs = 2_000

for (const { name, environment, skip } of servers) {
  test(`a guest has an address by DHCP, which its VM shows, by ${name}`, { skip }, async (t) => {
    await using world = await openWorld(t, { environment })
    const vm = await world.bootTiny('web1', { nics: [{ name: 'net0' }] })

    const address = await untilAddress(vm)
    assert.match(await vm.shell('ip route'), /^default via /m)
    const [served] = (await vm.show()).status.userNics ?? []
    assert.deepEqual([served?.nic, served?.server], ['net0', name])
    const words = (await world.cli('vm', 'show', 'web1')).stdout
    assert.match(words, new RegExp(`net0  user, .*-> ${name} \\(.*passt.*\\) -> the host's network`))

    const shown = await eventually(
      async () => (await vm.show()).status.guest?.interfaces.find(({ addresses }) => addresses.length > 0),
      { withinMs: 45_000, everyMs: 500, what: 'the VM shows the address of its guest' },
    )
    assert.ok(shown.addresses.some((each) => each.startsWith(`${address}/`)))
    assert.equal(shown.mac, (await vm.show()).spec.nics[0]?.mac)
  })

  test(`a forwarded port of the host leads into the guest, also of a NIC that came while it ran, by ${name}`, {
    skip,
  }, async (t) => {
    await using world = await openWorld(t, { environment })
    const hostPort = await freePort()
    const vm = await world.bootTiny('web1', {
      nics: [{ name: 'net0', forwards: [{ hostPort, guestPort: 80 }] }],
    })
    await untilAddress(vm)
    await vm.shell('mkdir -p /tmp/www && echo hello from the guest >/tmp/www/index.html && httpd -h /tmp/www')

    const answer = await eventually(
      async () => {
        const response = await fetch(`http://127.0.0.1:${hostPort}/index.html`)
        return response.ok ? await response.text() : undefined
      },
      { withinMs: 15_000, what: 'the guest answers through the forward' },
    )
    assert.equal(answer, 'hello from the guest\n')

    const gone = await world.cli('vm', 'nic', 'remove', 'web1', 'net0')
    assert.match(gone.stderr, /NIC net0 is gone\./)
    await assert.rejects(ask(hostPort), { code: 'ECONNREFUSED' })
    const came = await world.cli('vm', 'nic', 'add', 'web1', `forward=${hostPort}:80`)
    assert.match(came.stderr, /NIC net0 is plugged\./)
    await untilAddress(vm)
    const again = async () =>
      (await (await fetch(`http://127.0.0.1:${hostPort}/index.html`)).text()) === answer
    await eventually(again, { withinMs: 15_000, what: 'the guest answers through the NIC that came' })
    await world.daemon.kill9()
    await world.startDaemon({ ...environment, KVASIR_PASST: '/nonexistent/other' })
    assert.ok(await again())
    assert.equal((await vm.show()).status.userNics?.[0]?.server, name, 'It is the one that was started.')
    await world.assertCleanAudit()

    await vm.powerOff()
    await assert.rejects(ask(hostPort), { code: 'ECONNREFUSED' })
  })

  test(`two VMs that want one port of the host: the second is refused and says which NIC, by ${name}`, {
    skip,
  }, async (t) => {
    await using world = await openWorld(t, { environment })
    const hostPort = await freePort()
    const nics = [{ name: 'net0', forwards: [{ hostPort, guestPort: 80 }] }]
    const first = await world.createTiny('first', { nics })
    const second = await world.createTiny('second', { nics })
    await first.start()

    await assert.rejects(second.start(), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'in-use')
      assert.match(error.message, /net0/)
      return true
    })
    assert.equal(await second.state(), 'shutoff')
    await world.assertCleanAudit()

    await first.powerOff()
    await second.start()
    await second.waitForLogin()
  })

  test(`a guest does not reach what listens on the loopback of the host, by ${name}`, { skip }, async (t) => {
    await using world = await openWorld(t, { environment })
    const reached: string[] = []
    const server = createServer((socket) => {
      reached.push(String(socket.remoteAddress))
      socket.end('secret\n')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const port = portOf(server.address())
    assert.equal(await ask(port), 'secret\n')
    const vm = await world.bootTiny('web1', { nics: [{ name: 'net0' }] })
    await untilAddress(vm)
    const gateway = await vm.shell("ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'")

    for (const address of [gateway, '127.0.0.1', '169.254.1.1', '10.0.2.2'])
      await vm.run(`echo hello | timeout 3 nc -w 2 ${address} ${port}`)

    assert.deepEqual(reached, ['127.0.0.1'])
  })
}

async function untilAddress(vm: VmHandle): Promise<string> {
  return eventually(
    async () => {
      const lines = await vm.shell('ip -4 addr show dev eth0 2>/dev/null || true')
      return /inet ([\d.]+)\//.exec(lines)?.[1]
    },
    { withinMs: 20_000, everyMs: 300, what: `the guest of VM ${vm.name} has an address` },
  )
}

/** A port that nobody has now; another program might take it meanwhile, which is unlikely within a test. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = portOf(server.address())
  server.close()
  await once(server, 'close')
  return port
}

function portOf(address: AddressInfo | string | null): number {
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

async function ask(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setTimeout(answerMs, () => socket.destroy(new Error('no answer')))
  return await text(socket)
}
