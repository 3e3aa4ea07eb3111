import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Job, KvasirError, type Vm, vm as vmSchema, vmSpec } from '@kvasir/contract'
import { type Asked, type Reply, startScriptedDaemon } from '@kvasir/sdk/scripted-daemon'
import { dispatch } from './dispatch.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
const runTimeoutMs = 20_000

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface RunOptions {
  readonly url?: string
  readonly input?: string
  readonly environment?: NodeJS.ProcessEnv
  /** Sent once stdout holds the text. */
  readonly interruptAfter?: string
}

/** Runs a command line within this process. */
async function kvasir(words: readonly string[], options: { readonly url?: string } = {}): Promise<Ran> {
  const written = { stdout: '', stderr: '' }
  const sink = (name: keyof typeof written) => ({
    write(text: string | Uint8Array): boolean {
      written[name] += typeof text === 'string' ? text : Buffer.from(text).toString()
      return true
    },
  })
  const code = await dispatch(words, {
    stdout: sink('stdout'),
    stderr: sink('stderr'),
    environment: { KVASIR_URL: options.url ?? 'unix:///nonexistent/k.sock' },
    signal: new AbortController().signal,
  })
  return { code, ...written }
}

/** Runs a command line as a process of its own: for what reads stdin, is interrupted, or starts other programs. */
async function kvasirProcess(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...words], {
    env: {
      PATH: process.env['PATH'],
      KVASIR_URL: options.url ?? 'unix:///nonexistent/k.sock',
      ...options.environment,
    },
    timeout: runTimeoutMs,
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (options.interruptAfter !== undefined && stdout.includes(options.interruptAfter)) child.kill('SIGINT')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.end(options.input ?? '')
  const { promise, resolve } = Promise.withResolvers<Ran>()
  child.on('close', (code) => resolve({ code, stdout, stderr }))
  return await promise
}

function vmNamed(name: string, state: Vm['status']['state'] = 'running'): Vm {
  return vmSchema.parse({
    name,
    uuid: '0190a2b0-0000-7000-8000-000000000001',
    revision: 3,
    createdAt: '2026-01-01T00:00:00Z',
    spec: vmSpec.parse({ disks: [{ name: 'root', image: 'tiny' }] }),
    status: { state, reason: 'as the test says', since: '2026-01-01T00:00:00Z' },
  })
}

const job: Job = {
  id: '0190a2b0-0000-7000-8000-00000000000a',
  kind: 'vm.start',
  subject: { kind: 'vm', name: 'web1' },
  state: 'running',
  owner: 'root',
  step: 'starting the emulator',
  progress: 0.5,
  createdAt: '2026-01-01T00:00:00Z',
  deadlineAt: '2099-01-01T00:00:00Z',
}

/** A daemon with one VM, which knows enough to be changed. */
function script({ method, path }: Asked): Reply {
  if (path === '/v1/vms' && method === 'GET') return { json: [vmNamed('web1')] }
  if (path === '/v1/vms' && method === 'POST') return { status: 201, json: vmNamed('web1', 'shutoff') }
  if (path === '/v1/vms/web1/start') return { status: 202, json: job }
  if (path.startsWith('/v1/jobs/')) return { json: { ...job, state: 'succeeded', step: 'done' } }
  if (path === '/v1/vms/web1/plan') return { json: { name: 'web1', action: 'change', changes: [] } }
  if (path === '/v1/vms/web1' && method === 'DELETE') return { status: 204, json: undefined }
  if (path === '/v1/vms/web1') return { json: vmNamed('web1') }
  if (path === '/v1/vms/web1/exec') {
    return { json: { exitCode: 7, stdout: 'out\n', stderr: 'err\n', truncated: false } }
  }
  if (path === '/v1/images/debian-13') return { json: { name: 'debian-13', boot: 'disk' } }
  return { refuse: 'vm-not-found', sentence: `There is no VM at ${path}.` }
}

test('the process ends with the exit code, and prints on its own streams', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const ran = await kvasirProcess(['vm', 'list', '-o', 'json'], daemon)
  assert.deepEqual([ran.code, JSON.parse(ran.stdout).length, ran.stderr], [0, 1, ''])
  assert.equal((await kvasirProcess(['vm', 'show', 'web2'], daemon)).code, 3)
})

test('vm list prints a table for people and the objects of the API as JSON and YAML', async () => {
  await using daemon = await startScriptedDaemon({ request: script })

  const table = await kvasir(['vm', 'list'], daemon)
  assert.equal(table.code, 0)
  assert.match(table.stdout, /^NAME +STATE.*\nweb1 +running/)

  const json = await kvasir(['vm', 'list', '-o', 'json'], daemon)
  assert.deepEqual(JSON.parse(json.stdout), JSON.parse(JSON.stringify([vmNamed('web1')])))
  assert.equal(json.stderr, '')

  const yaml = await kvasir(['-o', 'yaml', 'vm', 'show', 'web1'], daemon)
  assert.match(yaml.stdout, /^name: web1\nuuid: /)
})

test('exit codes tell refused, usage, not found, host failed and unreachable apart', async () => {
  const codes = {
    busy: 1,
    'bad-request': 2,
    'vm-not-found': 3,
    'host-failed': 4,
    'shutting-down': 5,
  } as const
  for (const [code, exit] of Object.entries(codes)) {
    const refuse = code as keyof typeof codes // A key of the table above.
    await using daemon = await startScriptedDaemon({
      request: () => ({ refuse, sentence: `It is ${code}.` }),
    })
    const ran = await kvasir(['vm', 'pause', 'web1'], daemon)
    assert.deepEqual([ran.code, ran.stderr, ran.stdout], [exit, `It is ${code}. ${code}\n`, ''])
  }
  const alone = await kvasir(['vm', 'list'])
  assert.equal(alone.code, 5)
  assert.match(alone.stderr, /not running.*kvasir daemon unreachable/)
})

test('usage errors end with 2, ask the daemon nothing, and say how to go on', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const cases: [string[], RegExp][] = [
    [[], /Usage: kvasir/],
    [['vm'], /Usage: kvasir vm/],
    [['vn', 'list'], /Did you mean: kvasir vm/],
    [['vm', 'strat', 'web1'], /Did you mean: kvasir vm start/],
    [['vm', 'show'], /NAME is missing/],
    [['vm', 'show', 'a', 'b'], /one word too many/],
    [['vm', 'list', '--outptu', 'json'], /Did you mean --output/],
    [['vm', 'list', '-o', 'xml'], /one of: table, json, yaml/],
    [['vm', 'list', '-o'], /needs a value/],
    [['vm', 'disk', 'ad', 'web1'], /Did you mean: kvasir vm disk add/],
    [['vm', 'create', 'a', '--disk', 'sise=2G'], /Did you mean size/],
    [['vm', 'create', 'a', '--forward', '22'], /HOSTPORT:GUESTPORT/],
    [['vm', 'create', 'a', '--vcpus', 'two'], /not a whole number/],
    [['vm', 'shutdown', 'a', '--mode', 'rude'], /auto, agent, acpi/],
    [['image', 'pull', 'https://example.org/a.img'], /--sha256 is missing/],
  ]
  for (const [words, expected] of cases) {
    const ran = await kvasir(words, daemon)
    assert.equal(ran.code, 2, words.join(' '))
    assert.match(ran.stderr, expected)
    assert.equal(ran.stdout, '')
  }
  assert.equal(daemon.asked.length, 0)
})

test('help is asked for on stdout and ends with 0', async () => {
  for (const words of [
    ['--help'],
    ['help'],
    ['vm', '--help'],
    ['vm', 'create', '--help'],
    ['vm', 'disk', '--help'],
    ['status', '-h'],
  ]) {
    const ran = await kvasir(words)
    assert.equal(ran.code, 0, words.join(' '))
    assert.match(ran.stdout, /^(Kvasir runs|Usage: kvasir)/)
  }
})

test('vm create sends a spec, an idempotency key of its own each time, and the root disk of a disk image', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const words = [
    'vm',
    'create',
    'web1',
    '--image',
    'debian-13',
    '--vcpus',
    '2',
    '--memory',
    '2GiB',
    '--disk',
    'size=20GiB',
  ]
  const ran = await kvasir([...words, '--forward', '2222:22', '--user', 'ann'], daemon)
  await kvasir(words, daemon)

  assert.equal(ran.code, 0, ran.stderr)
  const [first, second] = daemon.asked.filter((asked) => asked.method === 'POST')
  assert.deepEqual(first?.body, {
    name: 'web1',
    start: false,
    spec: {
      image: 'debian-13',
      cpu: { count: 2 },
      memory: { size: '2GiB' },
      disks: [{ name: 'root', size: '20GiB', image: 'debian-13' }],
      nics: [{ name: 'net0', forwards: [{ hostPort: 2222, guestPort: 22 }] }],
      cloudInit: { user: 'ann' },
    },
  })
  const keys = [first, second].map((asked) => asked?.headers['idempotency-key'])
  assert.match(String(keys[0]), /^[0-9a-f-]{36}$/)
  assert.notEqual(keys[0], keys[1])
})

test('vm create -f reads name and spec, and refuses what it does not know', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const made = await kvasirProcess(['vm', 'create', '-f', '-'], {
    ...daemon,
    input: 'name: web1\nspec: { memory: { size: 1GiB } }\n',
  })
  assert.equal(made.code, 0, made.stderr)
  assert.deepEqual(daemon.asked[0]?.body, { name: 'web1', start: false, spec: { memory: { size: '1GiB' } } })

  for (const [input, expected] of [
    ['name: web1\nmemory: 1GiB\n', /unknown key memory/],
    ['name: [\n', /is not YAML/],
    ['- a\n', /no mapping/],
    ['name: web1\n', /no spec/],
  ] as const) {
    const ran = await kvasirProcess(['vm', 'create', '-f', '-'], { ...daemon, input })
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, expected)
  }
  const missing = await kvasirProcess(['vm', 'apply', '-f', '/nonexistent.yaml'], daemon)
  assert.equal(missing.code, 3)
})

test('a long action is followed to its end, or gives its id with --detach', async () => {
  await using daemon = await startScriptedDaemon({ request: script })

  const followed = await kvasir(['vm', 'start', 'web1'], daemon)
  assert.deepEqual([followed.code, followed.stdout], [0, ''])
  assert.equal(followed.stderr, 'starting the emulator\nVM web1 runs.\n')

  const detached = await kvasir(['vm', 'start', 'web1', '--detach'], daemon)
  assert.equal(detached.stdout, `${job.id}\n`)

  const json = await kvasir(['vm', 'start', 'web1', '-o', 'json', '-q'], daemon)
  assert.equal(JSON.parse(json.stdout).state, 'succeeded')
  assert.equal(json.stderr, '')
})

test('a job that fails ends the command with the exit code of its error', async () => {
  const error = new KvasirError('not-enough-space', 'The disk of pool default is full.').toProblem()
  await using daemon = await startScriptedDaemon({
    request: () => ({ status: 202, json: { ...job, state: 'failed', error } }),
  })

  const ran = await kvasir(['vm', 'save', 'web1'], daemon)
  assert.deepEqual([ran.code, ran.stderr], [4, 'The disk of pool default is full. not-enough-space\n'])
})

test('vm exec passes output and exit code through, and takes the flags of the command as they are', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const ran = await kvasir(['vm', 'exec', '--timeout', '5', 'web1', '--', 'ls', '-o', '--help'], daemon)
  assert.deepEqual(ran, { code: 7, stdout: 'out\n', stderr: 'err\n' })
  assert.deepEqual(daemon.asked[0]?.body, { command: ['ls', '-o', '--help'], timeoutSeconds: 5 })

  await kvasir(['vm', 'exec', 'web1', 'ls', '-o', '--', 'x'], daemon)
  assert.deepEqual(daemon.asked[1]?.body, { command: ['ls', '-o', '--', 'x'], timeoutSeconds: 60 })
})

test('vm set changes fields by their path and guards against changes in between', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const ran = await kvasir(['vm', 'set', 'web1', 'memory=2GiB', 'vcpus=4', 'disks.root.cache=unsafe'], daemon)

  assert.equal(ran.code, 0, ran.stderr)
  const put = daemon.asked.find((asked) => asked.method === 'PUT')
  assert.equal(put?.headers['if-match'], '"3"')
  const body = put?.body as { spec: Record<string, unknown> } // What the CLI sent, read here only to be compared.
  assert.deepEqual(body.spec['memory'], { size: '2GiB', sharing: 'private' })
  assert.equal((body.spec['cpu'] as { count: number }).count, 4) // As above.
  assert.equal((body.spec['disks'] as { cache: string }[])[0]?.cache, 'unsafe') // As above.
})

test('vm edit applies what the editor made of the spec, and keeps the file when it cannot', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-edit-test-'))
  try {
    const environment = { EDITOR: `sed -i 's/^  description: .*/  description: edited/'`, TMPDIR: folder }
    await using daemon = await startScriptedDaemon({ request: script })
    const ran = await kvasirProcess(['vm', 'edit', 'web1'], { ...daemon, environment })
    assert.equal(ran.code, 0, ran.stderr)
    const put = daemon.asked.find((asked) => asked.method === 'PUT')
    assert.equal(put?.headers['if-match'], '"3"')
    assert.match(JSON.stringify(put?.body), /"description":"edited"/)

    await using refusing = await startScriptedDaemon({
      request: (asked) =>
        asked.method === 'PUT'
          ? { refuse: 'revision-mismatch', sentence: 'VM web1 has changed since.' }
          : script(asked),
    })
    const kept = await kvasirProcess(['vm', 'edit', 'web1'], { ...refusing, environment })
    assert.equal(kept.code, 1)
    const file = /Your text is kept: (\S+)/.exec(kept.stderr)?.[1] ?? ''
    assert.match(await readFile(file, 'utf8'), /description: edited/)

    const untouched = await kvasirProcess(['vm', 'edit', 'web1'], {
      ...daemon,
      environment: { ...environment, EDITOR: 'true' },
    })
    assert.deepEqual([untouched.code, untouched.stderr], [0, 'Nothing was changed.\n'])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a private key is not sent to a guest', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-key-test-'))
  try {
    const key = join(folder, 'id')
    await writeFile(key, `-----BEGIN OPENSSH ${'PRIVATE'} KEY-----\n`)
    await using daemon = await startScriptedDaemon({ request: script })
    const ran = await kvasir(['vm', 'create', 'web1', '--ssh-key', key], daemon)
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, /id\.pub/)
    assert.equal(daemon.asked.length, 0)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('deleting without a terminal does not ask', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const ran = await kvasir(['vm', 'delete', 'web1', '--disks'], daemon)
  assert.equal(ran.code, 0, ran.stderr)
  assert.equal(daemon.asked[0]?.query.get('disks'), 'true')
})

test('event watch prints events, survives a cut, and ends with 130 on Ctrl-C', async () => {
  await using daemon = await startScriptedDaemon({
    stream(socket, { query }) {
      const seq = Number(query.get('after')) + 1
      socket.send(
        JSON.stringify({
          seq,
          at: '2026-01-01T00:00:00Z',
          kind: 'vm.state',
          subject: 'web1',
          data: { state: 'running' },
        }),
      )
      if (seq < 3) setTimeout(() => socket.terminate(), 20)
    },
  })
  const ran = await kvasirProcess(['event', 'watch', '--after', '0', '-q'], {
    ...daemon,
    interruptAfter: '3 2026',
  })
  assert.equal(ran.code, 130)
  assert.deepEqual(
    ran.stdout.trimEnd().split('\n'),
    [1, 2, 3].map((seq) => `${seq} 2026-01-01T00:00:00Z vm.state web1 state=running`),
  )
})

test('a console shows what comes, sends stdin, and ends when the VM does', async () => {
  const typed: string[] = []
  await using daemon = await startScriptedDaemon({
    request: () => ({
      status: 201,
      json: { ticket: 't/1', url: '/v1/streams/console', expiresAt: '2099-01-01T00:00:00Z' },
    }),
    stream(socket, { path, query }) {
      assert.deepEqual([path, query.get('ticket')], ['/v1/streams/console', 't/1'])
      socket.send(JSON.stringify({ kind: 'hello', mode: 'write', scrollbackBytes: 6 }))
      socket.send(Buffer.from('login:'))
      socket.send(JSON.stringify({ kind: 'notice', text: 'somebody watches' }))
      socket.on('message', (data: Buffer) => {
        typed.push(data.toString())
        socket.send(Buffer.from(' root\n'))
        setTimeout(() => socket.close(1000, 'VM web1 was shut down'), 20)
      })
    },
  })
  const ran = await kvasirProcess(['vm', 'console', 'web1', '--take-over'], { ...daemon, input: 'root\n' })

  assert.equal(ran.code, 0, ran.stderr)
  assert.deepEqual(daemon.asked[0]?.body, { mode: 'take-over' })
  assert.equal(ran.stdout, 'login: root\n')
  assert.deepEqual(typed, ['root\n'])
  assert.match(ran.stderr, /somebody watches[\s\S]*VM web1 was shut down/)
})

test('a console that breaks off is unreachable; one that is taken says what to do', async () => {
  const ticket = { json: { ticket: 't', url: '/v1/streams/console', expiresAt: '2099-01-01T00:00:00Z' } }
  await using breaking = await startScriptedDaemon({
    request: () => ticket,
    stream: (socket) => socket.terminate(),
  })
  assert.equal((await kvasirProcess(['vm', 'console', 'web1'], breaking)).code, 5)

  await using taken = await startScriptedDaemon({
    request: () => ({ refuse: 'console-taken', sentence: 'Ann writes to the console of VM web1.' }),
  })
  const ran = await kvasirProcess(['vm', 'console', 'web1'], taken)
  assert.equal(ran.code, 1)
  assert.match(ran.stderr, /Ann writes.*--read-only.*--take-over/)
})

test('names for completion come from the daemon; without one there are none, and no error', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  assert.equal((await kvasir(['complete', '--', 'vm', 'start', 'w'], daemon)).stdout, 'web1\n')
  assert.deepEqual(await kvasir(['complete', '--', 'vm', 'start', 'w']), { code: 0, stdout: '', stderr: '' })
})

test('completion scripts are scripts of their shells', async () => {
  const bash = await kvasir(['completion', 'bash'])
  assert.match(bash.stdout, /complete -o default -F _kvasir kvasir/)
  const checked = spawn('bash', ['-n'], { stdio: ['pipe', 'ignore', 'inherit'] })
  checked.stdin.end(bash.stdout)
  const { promise, resolve } = Promise.withResolvers<number | null>()
  checked.on('close', resolve)
  assert.equal(await promise, 0)
  assert.equal((await kvasir(['completion', 'tcsh'])).code, 2)
})
