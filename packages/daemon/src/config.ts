/**
 * The daemon's configuration: what can be set, by which flag and which variable of the environment, and where each value came from.
 *
 * A flag outranks the environment, which outranks the file, which outranks the default. Every key is known: one that is not is named
 * and the daemon does not start.
 *
 * Not here: reading files, which the caller hands in, and what the values mean.
 */
import { hostPath, KvasirError } from '@kvasir/contract'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'

/** The file that is read when none is named. */
export const defaultConfigPath = '/etc/kvasir/kvasir.yaml'

const port = z.coerce.number().int().min(0).max(65535)

const listenAddress = z
  .strictObject({
    host: z.string().min(1).max(255),
    port,
    tlsCert: hostPath.optional(),
    tlsKey: hostPath.optional(),
  })
  .refine(
    (at) => (at.tlsCert === undefined) === (at.tlsKey === undefined),
    'needs tlsCert and tlsKey, or neither',
  )
  .refine(
    (at) => at.tlsCert !== undefined || isLoopback(at.host),
    'is reachable from outside, so it needs tlsCert and tlsKey',
  )

const token = z.strictObject({
  /** Who calls with it; shown as the owner of jobs. */
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/, 'is not a name'),
  /** The SHA-256 of the token, in hexadecimal; the token itself is never written down. */
  sha256: z
    .string()
    .toLowerCase()
    .regex(/^[0-9a-f]{64}$/, 'is not a SHA-256 digest of 64 hexadecimal digits'),
})

const uidRange = z
  .strictObject({
    first: z.coerce.number().int().min(1000),
    count: z.coerce.number().int().min(2).max(10_000_000),
  })
  .refine(({ first, count }) => first + count <= 2 ** 31, 'goes beyond 2^31')

const name = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'is not a name of a group')

const yesNo = z.union([z.boolean(), z.stringbool()], { error: 'is neither true nor false' })

const ksm = z.strictObject({
  run: yesNo.optional(),
  pagesToScan: z.coerce.number().int().min(1).max(1_000_000).optional(),
  sleepMs: z.coerce.number().int().min(0).max(3_600_000).optional(),
  advisor: z.enum(['none', 'scan-time']).optional(),
  advisorTargetSeconds: z.coerce.number().int().min(1).max(86_400).optional(),
  mergeAcrossNodes: yesNo.optional(),
  useZeroPages: yesNo.optional(),
  smartScan: yesNo.optional(),
  maxPageSharing: z.coerce.number().int().min(2).max(1_000_000).optional(),
})

const kernelWord = z.string().regex(/^[a-z0-9_-]{1,32}$/, 'is not a name of the kernel')

const zswap = z.strictObject({
  enabled: yesNo.optional(),
  maxPoolPercent: z.coerce.number().int().min(1).max(100).optional(),
  acceptThresholdPercent: z.coerce.number().int().min(0).max(100).optional(),
  compressor: kernelWord.optional(),
  pool: kernelWord.optional(),
  shrinker: yesNo.optional(),
})

const configSchema = z
  .strictObject({
    stateDir: hostPath.default('/var/lib/kvasir'),
    runtimeDir: hostPath
      .refine((path) => path.length <= 50, 'is too long for sockets below it')
      .default('/run/kvasir'),
    logDir: hostPath.default('/var/log/kvasir'),
    prefix: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,14}$/, 'is not a prefix of 1 to 15 lower-case letters, digits and dashes')
      .default('kvasir'),
    qemu: hostPath.optional(),
    /** Of user-mode networking; where it is not, QEMU's own stack serves. */
    passt: hostPath.optional(),
    socketGroup: name.default('kvasir'),
    listen: z.array(listenAddress).max(16).default([]),
    tokens: z.array(token).max(1000).default([]),
    /** Of the host's kernel, set while the daemon has VMs here; what is not said stays as it is. */
    ksm: ksm.default({}),
    zswap: zswap.default({}),
    uids: uidRange.default({ first: 2_100_000_000, count: 1_000_000 }),
    /** What a VM finds missing of huge pages: reserved when it starts and given back when it ends, or only taken when they are there. */
    hugepages: z.enum(['existing', 'reserve']).default('existing'),
    /** Which VMs may be moved within their NUMA node while they run, to make room for one that starts. */
    placementMoves: z.enum(['none', 'shared', 'all']).default('none'),
    /** Whether the first start makes the network `default`, once; `none` where daemons run beside each other, or tests. */
    defaultNetwork: z.enum(['create', 'none']).default('create'),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .refine((config) => config.listen.length === 0 || config.tokens.length > 0, {
    path: ['listen'],
    message: 'needs at least one entry of tokens, since a TCP port cannot tell its callers apart otherwise',
  })

export type Config = z.output<typeof configSchema>
export type ConfigKey = keyof Config

/** The flags and variables of the keys; `parse` turns their text into what the file would hold. */
const settings = {
  stateDir: { flag: 'state-dir', variable: 'KVASIR_STATE_DIR' },
  runtimeDir: { flag: 'runtime-dir', variable: 'KVASIR_RUNTIME_DIR' },
  logDir: { flag: 'log-dir', variable: 'KVASIR_LOG_DIR' },
  prefix: { flag: 'prefix', variable: 'KVASIR_PREFIX' },
  qemu: { flag: 'qemu', variable: 'KVASIR_QEMU' },
  passt: { flag: 'passt', variable: 'KVASIR_PASST' },
  socketGroup: { flag: 'socket-group', variable: 'KVASIR_SOCKET_GROUP' },
  listen: { flag: 'listen', variable: 'KVASIR_LISTEN', parse: parseListen },
  tokens: { flag: undefined, variable: 'KVASIR_TOKENS', parse: parseTokens },
  ksm: { flag: undefined, variable: 'KVASIR_KSM', parse: parsePairs },
  zswap: { flag: undefined, variable: 'KVASIR_ZSWAP', parse: parsePairs },
  uids: { flag: 'uids', variable: 'KVASIR_UIDS', parse: parseUids },
  hugepages: { flag: 'hugepages', variable: 'KVASIR_HUGEPAGES' },
  placementMoves: { flag: 'placement-moves', variable: 'KVASIR_PLACEMENT_MOVES' },
  defaultNetwork: { flag: 'default-network', variable: 'KVASIR_DEFAULT_NETWORK' },
  logLevel: { flag: 'log-level', variable: 'KVASIR_LOG_LEVEL' },
} as const satisfies Record<
  ConfigKey,
  { flag: string | undefined; variable: string; parse?: (text: string) => unknown }
>

const configKeys = Object.keys(settings) as ConfigKey[] // The keys of a closed table.

/** The names of the flags, without `--`, `config` among them. */
export const configFlags: readonly string[] = [
  'config',
  ...configKeys.flatMap((key) => settings[key].flag ?? []),
]

export interface LoadConfigOptions {
  /** Flags by their names without `--`. */
  readonly flags: Readonly<Record<string, string | undefined>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The text of a file; undefined when there is none. */
  readonly readText: (path: string) => Promise<string | undefined>
}

export interface LoadedConfig {
  readonly config: Config
  /** Where each value came from: `--state-dir`, `KVASIR_STATE_DIR`, the path of the file, or `default`. */
  readonly origins: Readonly<Record<ConfigKey, string>>
}

/** Puts the configuration together. Throws `bad-request` for what is not valid, `file-not-found` for a named file that is not there. */
export async function loadConfig(options: LoadConfigOptions): Promise<LoadedConfig> {
  const file = await readConfigFile(options)
  const values: Record<string, unknown> = { ...file.values }
  const origins: Record<string, string> = {}
  for (const key of configKeys) {
    const given = givenText(key, options)
    if (given !== undefined) values[key] = given.value
    origins[key] = given?.origin ?? (key in file.values ? file.path : 'default')
  }
  const parsed = configSchema.safeParse(values)
  if (!parsed.success) throw refusal(parsed.error, { origins, path: file.path })
  return { config: parsed.data, origins: originsOf(origins) }
}

/** The key that an issue is about, and what of it: `listen.0.port`. */
function refusal(
  error: z.ZodError,
  from: { readonly origins: Readonly<Record<string, string>>; readonly path: string },
): KvasirError {
  const sentences = error.issues.slice(0, 5).map((issue) => {
    const origin = from.origins[String(issue.path[0])] ?? from.path
    if (issue.code === 'unrecognized_keys') {
      const place = issue.path.length === 0 ? '' : ` of ${issue.path.join('.')}`
      return `${issue.keys.map((key) => `"${key}"`).join(', ')}${place} in ${origin} is not a known key`
    }
    return `${issue.path.join('.')} (from ${origin}) ${issue.message}`
  })
  return new KvasirError(
    'bad-request',
    `The configuration is not valid, so the daemon does not start: ${sentences.join('; ')}.`,
    {
      details: { issues: sentences },
    },
  )
}

function givenText(
  key: ConfigKey,
  { flags, environment }: LoadConfigOptions,
): { readonly value: unknown; readonly origin: string } | undefined {
  const setting = settings[key]
  const parse = 'parse' in setting ? setting.parse : (text: string): unknown => text
  const flag = setting.flag === undefined ? undefined : flags[setting.flag]
  if (flag !== undefined) return { value: parse(flag), origin: `--${setting.flag}` }
  const variable = environment[setting.variable]
  // An empty variable is one that was not set, as with most programs.
  if (variable !== undefined && variable !== '') return { value: parse(variable), origin: setting.variable }
  return undefined
}

async function readConfigFile(
  options: LoadConfigOptions,
): Promise<{ readonly path: string; readonly values: Readonly<Record<string, unknown>> }> {
  const named = options.flags['config'] ?? (options.environment['KVASIR_CONFIG'] || undefined)
  const path = named ?? defaultConfigPath
  const text = await options.readText(path)
  if (text === undefined) {
    if (named === undefined) return { path, values: {} }
    throw new KvasirError(
      'file-not-found',
      `The configuration file ${path} does not exist, so the daemon does not start.`,
    )
  }
  const value = parseDocument(path, text)
  if (value === null || value === undefined) return { path, values: {} }
  if (typeof value !== 'object' || Array.isArray(value))
    throw new KvasirError(
      'bad-request',
      `The configuration file ${path} does not hold keys, so the daemon does not start.`,
    )
  return { path, values: { ...value } }
}

function parseDocument(path: string, text: string): unknown {
  try {
    return parseYaml(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : ''
    throw new KvasirError(
      'bad-request',
      `The configuration file ${path} is not YAML (${reason}), so the daemon does not start.`,
      {
        cause,
      },
    )
  }
}

/** `HOST:PORT[,HOST:PORT...]`, with `[::1]:8443` for IPv6; with TLS `HOST:PORT:CERT:KEY`. */
function parseListen(text: string): unknown {
  return text.split(',').map((item) => {
    const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)(?::(\/[^:]+):(\/[^:]+))?$/.exec(item.trim())
    if (!match) return item
    const [, ipv6, host, number, tlsCert, tlsKey] = match
    return { host: ipv6 ?? host, port: number, ...(tlsCert === undefined ? {} : { tlsCert, tlsKey }) }
  })
}

/** `NAME=SHA256[,NAME=SHA256...]`. */
function parseTokens(text: string): unknown {
  return text.split(',').map((item) => {
    const [tokenName, sha256] = item.trim().split('=')
    return { name: tokenName, sha256 }
  })
}

/** `KEY=VALUE[,KEY=VALUE...]`. */
function parsePairs(text: string): unknown {
  return Object.fromEntries(
    text.split(',').map((item) => {
      const [key = '', value = ''] = item.trim().split('=')
      return [key, value]
    }),
  )
}

/** `FIRST:COUNT`. */
function parseUids(text: string): unknown {
  const [first, count] = text.split(':')
  return { first, count }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

function originsOf(origins: Readonly<Record<string, string>>): Record<ConfigKey, string> {
  const told = configKeys.map((key) => [key, origins[key] ?? 'default'])
  return Object.fromEntries(told) as Record<ConfigKey, string> // One for each key of a closed table.
}
