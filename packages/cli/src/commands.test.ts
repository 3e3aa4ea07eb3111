import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { startScriptedDaemon } from '@kvasir/sdk/testing/scripted-daemon'
import { job, kvasir, kvasirProcess, script, vmNamed } from './testing/run-command-line.ts'

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
    const [sentence, advice] = ran.stderr.trimEnd().split('\n')
    assert.deepEqual([ran.code, sentence, ran.stdout], [exit, `It is ${code}. (${code})`, ''])
    assert.equal(advice, code === 'vm-not-found' ? 'See: kvasir vm list' : undefined)
  }
  const alone = await kvasir(['vm', 'list'])
  assert.equal(alone.code, 5)
  assert.match(alone.stderr, /not running.*kvasir daemon \(unreachable\)/)
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
      disks: [{ bootOrder: 1, name: 'root', size: '20GiB' }],
      nics: [{ name: 'net0', forwards: [{ hostPort: 2222, guestPort: 22 }] }],
      cloudInit: { user: 'ann' },
    },
  })
  const keys = [first, second].map((asked) => asked?.headers['idempotency-key'])
  assert.match(String(keys[0]), /^[0-9a-f-]{36}$/)
  assert.notEqual(keys[0], keys[1])
})

test('vm create -f reads name and spec, and refuses what it does not know', async (t) => {
  await using daemon = await startScriptedDaemon({ request: script })
  const made = await kvasirProcess(['vm', 'create', '-f', '-'], {
    ...daemon,
    input: 'name: web1\nspec: { memory: { size: 1GiB } }\n',
  })
  assert.equal(made.code, 0, made.stderr)
  assert.deepEqual(daemon.asked[0]?.body, { name: 'web1', start: false, spec: { memory: { size: '1GiB' } } })

  const folder = await mkdtemp(join(tmpdir(), 'kvasir-file-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'vm.yaml')
  for (const [text, expected] of [
    ['name: web1\nmemory: 1GiB\n', /unknown key memory/],
    ['name: [\n', /is not YAML/],
    ['- a\n', /no mapping/],
    ['name: web1\n', /no spec/],
  ] as const) {
    await writeFile(file, text)
    const ran = await kvasir(['vm', 'create', '-f', file], daemon)
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, expected)
  }
  const missing = await kvasir(['vm', 'apply', '-f', '/nonexistent.yaml'], daemon)
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
  assert.deepEqual([ran.code, ran.stderr], [4, 'The disk of pool default is full. (not-enough-space)\n'])
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
  assert.equal((body.spec['memory'] as { size: string }).size, '2GiB') // As above.
  assert.equal((body.spec['cpu'] as { count: number }).count, 4) // As above.
  assert.equal((body.spec['disks'] as { cache: string }[])[0]?.cache, 'unsafe') // As above.
})

test('a change of fields is made again on the spec of whoever was faster', async () => {
  let revision = 3
  await using daemon = await startScriptedDaemon({
    request: (asked) => {
      if (asked.method === 'GET' && asked.path === '/v1/vms/web1')
        return { json: { ...vmNamed('web1'), revision } }
      if (asked.method !== 'PUT') return script(asked)
      if (asked.headers['if-match'] === '"5"') return { json: { ...vmNamed('web1'), revision: 6 } }
      revision += 1
      return { refuse: 'revision-mismatch', sentence: 'Somebody was faster.' }
    },
  })

  const ran = await kvasir(['vm', 'set', 'web1', 'description=mine'], daemon)

  assert.equal(ran.code, 0, ran.stderr)
  assert.match(ran.stderr, /VM web1 is changed/)
  const puts = daemon.asked.filter((asked) => asked.method === 'PUT')
  assert.deepEqual(
    puts.map((asked) => asked.headers['if-match']),
    ['"3"', '"4"', '"5"'],
  )
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

test('what the file system refuses is a sentence, not a defect', async (t) => {
  await using daemon = await startScriptedDaemon({ request: script })
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-cli-test-'))
  t.after(() => rm(folder, { recursive: true }))
  const absent = join(folder, 'absent.img')

  const upload = await kvasir(['volume', 'upload', absent, 'data'], daemon)
  assert.deepEqual([upload.code, /^(.*) is not there/.exec(upload.stderr)?.[1]], [3, absent])
  const below = await kvasir(['vm', 'screenshot', 'web1', join(folder, 'none', 'a.png')], daemon)
  assert.doesNotMatch(upload.stderr + below.stderr, /defect|\n +at /)
  const folderItself = await kvasir(['volume', 'upload', folder, 'data'], daemon)
  assert.match(folderItself.stderr, /is a folder/)
  assert.equal(daemon.asked.filter(({ method }) => method !== 'GET').length, 0)
})

test('of a pipe to a new volume the size has to be said', async () => {
  await using daemon = await startScriptedDaemon({
    request: () => ({ refuse: 'volume-not-found', sentence: 'There is no volume data.' }),
  })

  const piped = await kvasirProcess(['volume', 'upload', '-', 'data'], { ...daemon, input: 'contents' })

  assert.equal(piped.code, 2)
  assert.match(piped.stderr, /nobody knows how much will come.*\n.*--size 20GiB/)
  assert.ok(daemon.asked.every(({ method }) => method === 'GET'))
})

test('deleting without a terminal does not ask', async () => {
  await using daemon = await startScriptedDaemon({ request: script })
  const ran = await kvasir(['vm', 'delete', 'web1', '--disks'], daemon)
  assert.equal(ran.code, 0, ran.stderr)
  const deletion = daemon.asked.find((asked) => asked.method === 'DELETE')
  assert.equal(deletion?.query.get('disks'), 'true')
})
