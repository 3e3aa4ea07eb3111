/** Real-time policies that the kernel itself refuses, and what is said of it: the capability dropped, the time taken away. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { test } from 'node:test'
import { runJsonCommand } from '@kvasir/linux'
import { lacking, needs } from '../../../../../tools/require.ts'

const skip = needs('root')
const cpuGroups = '/sys/fs/cgroup/cpu'
const sharesTime = existsSync(`${cpuGroups}/cpu.rt_runtime_us`)

/** Asks for a real-time policy in a process of its own, which `prefix` takes something from. */
async function askIn(prefix: readonly string[]): Promise<unknown> {
  const program = `
    import { setThreads } from '@kvasir/linux'
    import { explainRefusal } from '${import.meta.dirname}/refused-policy.ts'
    const [refused] = await setThreads([{ threadId: process.pid, policy: 'fifo', priority: 7 }])
    const told = refused && (await explainRefusal('web1', { policy: 'fifo', errno: refused.errno }))
    console.log(JSON.stringify({ what: refused?.what, code: told?.code, message: told?.message }))
  `
  return await runJsonCommand([...prefix, process.execPath, '--input-type=module', '-e', program], {
    timeoutMs: 30_000,
    cwd: import.meta.dirname,
  })
}

test('a daemon without the capability is refused, and told of it and of its limit', { skip }, async () => {
  const prefix = ['prlimit', '--rtprio=0:0', 'setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice']

  assert.deepEqual(await askIn(prefix), {
    what: 'policy',
    code: 'unsupported',
    message:
      'The vCPUs of VM web1 cannot run under the policy fifo, because the daemon lacks CAP_SYS_NICE, and its RLIMIT_RTPRIO allows priorities up to 0.',
  })
})

test('with the capability the same is taken', { skip }, async () => {
  assert.deepEqual(await askIn(['prlimit', '--rtprio=0:0']), {})
})

test('a cgroup that has no real-time time is named', {
  skip: skip || (sharesTime ? false : lacking('v1-rt-groups', 'the kernel shares no real-time time out')),
}, async (t) => {
  const name = `kvasir-rt-${process.pid}`
  mkdirSync(`${cpuGroups}/${name}`)
  t.after(() => rmdirSync(`${cpuGroups}/${name}`))
  const enter = ['/bin/sh', '-c', `echo $$ >${cpuGroups}/${name}/cgroup.procs && exec "$0" "$@"`]

  const told = await askIn(enter)

  assert.deepEqual(told, {
    what: 'policy',
    code: 'unsupported',
    message: `The vCPUs of VM web1 cannot run under the policy fifo, because the cgroup /${name} gives real-time threads no time (its cpu.rt_runtime_us is 0).`,
  })
})
