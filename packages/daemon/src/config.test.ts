import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { defaultConfigPath, loadConfig } from './config.ts'

function load(
  options: {
    flags?: Record<string, string>
    environment?: Record<string, string>
    files?: Record<string, string>
  } = {},
) {
  return loadConfig({
    flags: options.flags ?? {},
    environment: options.environment ?? {},
    readText: async (path) => options.files?.[path],
  })
}

function refusedWith(code: ErrorCode, pattern: RegExp) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

const digest = 'ab'.repeat(32)

test('without anything given the defaults hold', async () => {
  const { config, origins } = await load()

  assert.equal(config.stateDir, '/var/lib/kvasir')
  assert.equal(config.qemu, undefined)
  assert.deepEqual(config.listen, [])
  assert.ok(Object.values(origins).every((origin) => origin === 'default'))
})

test('a flag outranks the environment, which outranks the file, which outranks the default', async () => {
  const { config, origins } = await load({
    flags: { 'state-dir': '/flag' },
    environment: { KVASIR_STATE_DIR: '/env', KVASIR_LOG_DIR: '/env', KVASIR_PREFIX: '' },
    files: { [defaultConfigPath]: 'stateDir: /file\nlogDir: /file\nruntimeDir: /file\n' },
  })

  assert.equal(config.stateDir, '/flag')
  assert.equal(config.logDir, '/env')
  assert.equal(config.runtimeDir, '/file')
  assert.equal(config.prefix, 'kvasir')
  assert.deepEqual(
    [origins.stateDir, origins.logDir, origins.runtimeDir, origins.prefix],
    ['--state-dir', 'KVASIR_LOG_DIR', defaultConfigPath, 'default'],
  )
})

test('a key that is not known is named, with its file', async () => {
  await assert.rejects(
    load({
      files: { [defaultConfigPath]: 'statedir: /x\nlisten: [{ host: localhost, port: 1, tls: yes }]\n' },
    }),
    refusedWith('bad-request', /"statedir" in \/etc\/kvasir\/kvasir\.yaml is not a known key/),
  )
})

test('a value that does not fit is named with where it came from', async () => {
  await assert.rejects(
    load({ environment: { KVASIR_STATE_DIR: 'relative' } }),
    refusedWith('bad-request', /stateDir \(from KVASIR_STATE_DIR\) is not an absolute path/),
  )
  await assert.rejects(
    load({ flags: { prefix: '../x' } }),
    refusedWith('bad-request', /prefix \(from --prefix\)/),
  )
  await assert.rejects(load({ flags: { listen: 'nonsense' } }), refusedWith('bad-request', /listen/))
})

test('a file that is named must be there, be YAML and hold keys', async () => {
  await assert.rejects(
    load({ flags: { config: '/none' } }),
    refusedWith('file-not-found', /\/none does not exist/),
  )
  await assert.rejects(
    load({ environment: { KVASIR_CONFIG: '/none' } }),
    refusedWith('file-not-found', /none/),
  )
  const file = (text: string) => load({ flags: { config: '/c' }, files: { '/c': text } })
  await assert.rejects(file('a: [1'), refusedWith('bad-request', /is not YAML/))
  await assert.rejects(file('- 1\n'), refusedWith('bad-request', /does not hold keys/))
  assert.equal((await file('# nothing\n')).config.prefix, 'kvasir')
})

test('TCP needs tokens, and beyond the loopback TLS too', async () => {
  const tokens = `ci=${digest}`
  const listen = (text: string, environment: Record<string, string> = { KVASIR_TOKENS: tokens }) =>
    load({ environment: { ...environment, KVASIR_LISTEN: text } })

  await assert.rejects(
    listen('127.0.0.1:8006', {}),
    refusedWith('bad-request', /needs at least one entry of tokens/),
  )
  await assert.rejects(listen('0.0.0.0:8006'), refusedWith('bad-request', /needs tlsCert and tlsKey/))
  await assert.rejects(listen('127.0.0.1:99999'), refusedWith('bad-request', /port/))
  const { config } = await listen('[::1]:8006,0.0.0.0:8007:/cert.pem:/key.pem')

  assert.deepEqual(config.listen, [
    { host: '::1', port: 8006 },
    { host: '0.0.0.0', port: 8007, tlsCert: '/cert.pem', tlsKey: '/key.pem' },
  ])
  assert.deepEqual(config.tokens, [{ name: 'ci', sha256: digest }])
})

test('a UID range is read and checked', async () => {
  assert.deepEqual((await load({ flags: { uids: '64000:1000' } })).config.uids, { first: 64000, count: 1000 })
  await assert.rejects(load({ flags: { uids: '0:1000' } }), refusedWith('bad-request', /uids/))
  await assert.rejects(load({ flags: { uids: 'x' } }), refusedWith('bad-request', /uids/))
})

test('the kernel of the host is tuned from the file or the environment, and nothing else is known', async () => {
  const file = 'ksm:\n  run: true\n  pagesToScan: 500\nzswap:\n  enabled: false\n  compressor: zstd\n'
  const { config } = await load({ files: { [defaultConfigPath]: file } })
  assert.deepEqual(config.ksm, { run: true, pagesToScan: 500 })
  assert.deepEqual(config.zswap, { enabled: false, compressor: 'zstd' })

  const { config: given } = await load({ environment: { KVASIR_KSM: 'run=1,sleepMs=50,advisor=none' } })
  assert.deepEqual(given.ksm, { run: true, sleepMs: 50, advisor: 'none' })
  assert.deepEqual(given.zswap, {})

  await assert.rejects(
    load({ environment: { KVASIR_ZSWAP: 'maxPoolPercent=200' } }),
    refusedWith('bad-request', /zswap\.maxPoolPercent \(from KVASIR_ZSWAP\)/),
  )
  await assert.rejects(
    load({ environment: { KVASIR_KSM: 'run=2,pages=5' } }),
    refusedWith(
      'bad-request',
      /ksm\.run \(from KVASIR_KSM\) is neither true nor false; "pages" of ksm in KVASIR_KSM is not a known key/,
    ),
  )
  await assert.rejects(
    load({ files: { [defaultConfigPath]: 'ksm: {pages_to_scan: 5}\n' } }),
    refusedWith('bad-request', /"pages_to_scan" of ksm/),
  )
})
