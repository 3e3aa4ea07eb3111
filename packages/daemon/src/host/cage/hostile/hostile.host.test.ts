import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from '@kvasir/linux'
import { needs } from '../../../../../../tools/require.ts'
import { sealShare } from '../share.ts'
import { eventually, openTestCages, readFixture, TEST_UID } from '../testing/test-cages.ts'

/** A probe that ends with one of these did not reach what it wanted to try. */
const ERRNOS_OF_BROKEN_PROBES = /\((EFAULT|EINVAL|EBADF|ESPIPE|0)\)$/
/** Probes for which such an errno is the kernel's honest no. */
const HONEST = new Set(['attach shared memory of the host', 'have a descriptor that was not given'])

test('a hostile program in the place of QEMU finds no way out', { skip: needs('root') }, async (t) => {
  await using test = await openTestCages()
  await using host = await openTargets(test.directory)
  const victim = await test.vm('victim', TEST_UID + 1)
  const other = await test.cages.launch({ ...victim.request, binary: '/usr/bin/sleep', args: ['120'] })
  const vm = await test.vm('hostile')
  const program = await readFixture('hostile/hostile-program.pl')

  await test.cages.launch({
    ...vm.request,
    logs: { ...vm.request.logs, capBytes: 1024 * 1024 },
    limits: { ...vm.request.limits, memlockBytes: 65_536 },
    binary: '/usr/bin/perl',
    args: [
      '-e',
      program,
      ...argumentsOf(host, { victimPid: other.pid, processes: vm.request.limits.processes }),
    ],
  })
  const says = (line: string) => async () => (await vm.log()).split('\n').includes(line)
  await eventually(says('# seal'), { timeoutMs: 30_000, otherwise: `It ended early:\n${await vm.log()}` })
  const strangers = await sealShare(vm.share, { uid: TEST_UID, sockets: ['vnc.sock'] })
  await eventually(says('# done'), { timeoutMs: 30_000, otherwise: `It ended early:\n${await vm.log()}` })

  const lines = (await vm.log()).split('\n').filter((line) => line !== '')
  const attempts = lines.filter((line) => !line.startsWith('#'))
  for (const gap of lines.filter((line) => line.startsWith('# gap'))) t.diagnostic(gap)
  t.diagnostic(`${attempts.length} attempts`)
  assert.deepEqual(
    attempts.filter((line) => !/: blocked \(\w+\)$/.test(line)),
    [],
  )
  assert.deepEqual(
    attempts.filter((line) => ERRNOS_OF_BROKEN_PROBES.test(line) && !HONEST.has(line.split(': ')[0] ?? '')),
    [],
  )
  assert.ok(attempts.length >= 200, `${attempts.length} attempts`)
  assert.ok(strangers.includes('vnc.sock') && strangers.includes('link'), strangers.join(' '))
  assert.equal(host.connections(), 0)
})

/** In the order that hostile-program.pl names. */
function argumentsOf(host: Targets, limits: { victimPid: number; processes: number }): readonly string[] {
  const { victimPid, processes } = limits
  const { port, path, abstract, memory, disk } = host
  return [process.pid, victimPid, port, path, abstract, memory, disk, processes, '0,1,2,4'].map(String)
}

interface Targets extends AsyncDisposable {
  readonly port: number
  readonly path: string
  readonly abstract: string
  readonly memory: string
  readonly disk: string
  connections(): number
}

/** Things on the host that a caged program must not reach; every one of them answers outside of the cage. */
async function openTargets(directory: string): Promise<Targets> {
  let connections = 0
  const listen = (address: string | number) =>
    new Promise<Server>((resolve, reject) => {
      const server = createServer((socket) => {
        connections += 1
        socket.destroy()
      })
      server.once('error', reject)
      if (typeof address === 'number') server.listen(address, '127.0.0.1', () => resolve(server))
      else server.listen(address, () => resolve(server))
    })
  const path = join(directory, 'kvasir.sock')
  const abstract = `kvasir-test-${process.pid}`
  const servers = await Promise.all([listen(0), listen(path), listen(`\0${abstract}`)])
  const address = servers[0]?.address()
  const disk = join(directory, 'disk.qcow2')
  await writeFile(disk, 'secret', { mode: 0o600 })
  const made = await runCommand(['ipcmk', '-M', '4096', '-p', '0666'], { timeoutMs: 5_000 })
  const memory = /\d+/.exec(made.stdout)?.[0] ?? ''
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    path,
    abstract,
    memory,
    disk,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      await runCommand(['ipcrm', '-m', memory], { timeoutMs: 5_000 })
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    },
  }
}
