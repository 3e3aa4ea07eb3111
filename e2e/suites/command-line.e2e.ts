/** A day at the command line: every command answers, its JSON is the API's, its exit code says how it went. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Vm, vm as vmSchema } from '@kvasir/contract'
import { z } from 'zod'
import { needs } from '../../tools/require.ts'
import { sendRaw } from '../machine/raw-http.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

/** Runs a command that must succeed and gives its stdout. */
async function kvasir(world: World, ...argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await world.cli(...argv)
  assert.equal(code, 0, `kvasir ${argv.join(' ')} ended with ${code}: ${stderr}`)
  return stdout
}

async function showVm(world: World, name: string): Promise<Vm> {
  return vmSchema.parse(JSON.parse(await kvasir(world, 'vm', 'show', name, '-o', 'json')))
}

test('a VM is made, looked at, changed and removed', { skip }, async (t) => {
  await using world = await openWorld(t)
  const run = (...argv: readonly string[]) => kvasir(world, ...argv)
  assert.match(await run('status'), /tcg|kvm/)
  assert.match(await run('image', 'list'), /tiny/)

  await run(
    'vm',
    'create',
    'web1',
    '--image',
    'tiny',
    '--memory',
    '128MiB',
    '--disk',
    'name=data,size=32MiB',
    '--nic',
    'none',
    '--start',
  )
  await world.vm('web1').waitForLogin()
  const created = await showVm(world, 'web1')
  assert.equal(created.status.state, 'running')
  assert.equal(created.spec.memory.size, 128 * 2 ** 20)
  const listed = z.array(vmSchema).parse(JSON.parse(await run('vm', 'list', '-o', 'json')))
  assert.deepEqual(
    listed.map(({ uuid }) => uuid),
    [created.uuid],
  )
  assert.match(await run('vm', 'list'), /web1 +running/)

  await world.vm('web1').shell('true')
  assert.equal(await run('vm', 'exec', 'web1', '--', 'echo', '-n', '--', 'a  b'), '-- a  b')
  assert.equal((await world.cli('vm', 'exec', 'web1', '--', 'sh', '-c', 'exit 7')).code, 7)
  assert.match(await run('vm', 'log', 'web1'), /tiny login:/)
  const picture = join(world.place.base, 'web1.png')
  await run('vm', 'screenshot', 'web1', picture)
  assert.equal((await readFile(picture)).subarray(1, 4).toString(), 'PNG')

  await run('vm', 'pause', 'web1')
  assert.equal((await world.cli('vm', 'shutdown', 'web1')).code, 1)
  await run('vm', 'resume', 'web1')
  await run('vm', 'set', 'web1', 'vcpus=2', 'description=of the day')
  assert.deepEqual((await showVm(world, 'web1')).status.restartNeeded, ['cpu.count'])
  await run('vm', 'shutdown', 'web1', '--timeout', '30')
  await run('vm', 'rename', 'web1', 'web2')
  await run('vm', 'clone', 'web2', 'web3', '--mode', 'full')
  assert.match(await run('job', 'list'), /vm\.clone/)
  assert.match(await run('volume', 'list'), /web3-data/)
  await run('audit')

  await run('vm', 'delete', 'web2', '--disks')
  await run('vm', 'delete', 'web3', '--disks')
  assert.deepEqual(JSON.parse(await run('vm', 'list', '-o', 'json')), [])
  assert.match(await run('event', 'watch', '--after', '0', '--count', '4'), /vm\.created/)
})

test('a file says what a VM is: planned, applied, planned again', { skip }, async (t) => {
  await using world = await openWorld(t)
  const file = join(world.place.base, 'web1.yaml')
  await writeFile(
    file,
    'name: web1\nspec:\n  image: tiny\n  memory: { size: 128MiB }\n  labels: { made: by-hand }\n',
  )

  assert.match(await kvasir(world, 'vm', 'plan', '-f', file), /create/)
  await kvasir(world, 'vm', 'apply', '-f', file)
  assert.equal((await showVm(world, 'web1')).spec.labels['made'], 'by-hand')
  const plan = z
    .object({ action: z.string() })
    .parse(JSON.parse(await kvasir(world, 'vm', 'plan', '-f', file, '-o', 'json')))
  assert.equal(plan.action, 'nothing')

  await writeFile(file, 'name: web1\nspec:\n  image: tiny\n  memroy: { size: 128MiB }\n')
  const refused = await world.cli('vm', 'apply', '-f', file)
  assert.equal(refused.code, 2, refused.stderr)
  assert.match(refused.stderr, /memroy/)
})

test('each kind of failure has its exit code, and says itself on stderr alone', { skip }, async (t) => {
  await using world = await openWorld(t)
  await world.createTiny('web1')
  const cases: readonly (readonly [number, RegExp, readonly string[]])[] = [
    [1, /VM web1 is shutoff, so it cannot be paused/, ['vm', 'pause', 'web1']],
    [2, /colour/, ['vm', 'list', '--colour']],
    [2, /./, ['vm', 'frobnicate']],
    [3, /There is no VM nobody/, ['vm', 'start', 'nobody']],
    [5, /not running/, ['vm', 'list', '--url', 'unix:///nonexistent/kvasir.sock']],
  ]
  for (const [code, says, argv] of cases) {
    const run = await world.cli(...argv)
    assert.equal(run.code, code, `kvasir ${argv.join(' ')}: ${run.stderr}`)
    assert.match(run.stderr, says)
    assert.equal(run.stdout, '')
    assert.doesNotMatch(run.stderr, /\n\s+at /)
  }
})

test('the API describes itself, and its metrics tell of a VM that runs', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  await vm.isCounting()

  const committed = JSON.parse(
    await readFile(join(import.meta.dirname, '../../docs/generated/openapi.json'), 'utf8'),
  )
  const served = await sendRaw(world.place, { method: 'GET', path: '/v1/openapi.json' })
  assert.equal(served.status, 200)
  assert.deepEqual(served.content, committed)
  const metrics = await sendRaw(world.place, { method: 'GET', path: '/metrics' })
  assert.equal(metrics.status, 200)
  assert.match(metrics.text, /^libvirt_domain_\w+\{[^}]*domain="web1"/m)
  assert.equal((await sendRaw(world.place, { method: 'GET', path: '/v1/nothing' })).code, 'unknown-endpoint')
})
