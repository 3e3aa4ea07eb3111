import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { type DownloadLimits, type DownloadRequest, download } from './download.ts'

const content = randomBytes(300_000)
const sha256 = createHash('sha256').update(content).digest('hex')

interface Site {
  readonly url: string
  readonly folder: string
  readonly seen: IncomingMessage[]
  fetch(
    request?: Partial<DownloadRequest>,
    limits?: Partial<DownloadLimits>,
    signal?: AbortSignal,
  ): Promise<string>
}

async function openSite(
  context: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse, count: number) => void,
): Promise<Site> {
  const seen: IncomingMessage[] = []
  const server: Server = createServer((request, response) => {
    seen.push(request)
    answer(request, response, seen.length)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-download-'))
  context.after(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const { port } = server.address() as AddressInfo // A TCP server has this kind of address.
  const url = `http://127.0.0.1:${port}/image`
  return {
    url,
    folder,
    seen,
    fetch: (request = {}, limits = {}, signal = AbortSignal.timeout(10_000)) =>
      download(
        { url, sha256, allowPrivate: true, ...request },
        {
          downloads: folder,
          limits: { retryMs: 10, idleMs: 500, ...limits },
          signal,
          onProgress: () => {},
        },
      ),
  }
}

function serveRange(request: IncomingMessage, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  const body = content.subarray(from)
  const headers = { 'content-length': body.length }
  if (from === 0) response.writeHead(200, headers)
  else
    response.writeHead(206, {
      ...headers,
      'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
    })
  response.end(body)
}

/** Cuts the connection when that much has come: what a client has not read when it hears of the cut is lost to it. */
function cutAfter(response: ServerResponse, bytes: number, { folder }: Site): void {
  response.writeHead(200, { 'content-length': content.length })
  response.write(content.subarray(0, bytes))
  const part = join(folder, `${sha256}.part`)
  const timer = setInterval(() => {
    if ((statSync(part, { throwIfNoEntry: false })?.size ?? 0) < bytes) return
    clearInterval(timer)
    response.destroy()
  }, 5)
  response.once('close', () => clearInterval(timer))
}

async function refusalOf(promise: Promise<unknown>): Promise<KvasirError> {
  try {
    await promise
  } catch (error) {
    assert.ok(error instanceof KvasirError, String(error))
    return error
  }
  throw new Error('It was not refused.')
}

test('a file is fetched and verified', async (context) => {
  const site = await openSite(context, serveRange)

  const path = await site.fetch()

  assert.ok(readFileSync(path).equals(content))
})

test('a download goes on where the connection was cut', async (context) => {
  const site = await openSite(context, (request, response, count) => {
    if (count === 1) cutAfter(response, 100_000, site)
    else serveRange(request, response)
  })

  const path = await site.fetch()

  assert.ok(readFileSync(path).equals(content))
  assert.deepEqual(
    site.seen.map((request) => request.headers.range),
    [undefined, 'bytes=100000-'],
  )
})

test('a later download goes on with what an earlier one left', async (context) => {
  const site = await openSite(context, serveRange)
  writeFileSync(join(site.folder, `${sha256}.part`), content.subarray(0, 250_000))

  await site.fetch()

  assert.equal(site.seen[0]?.headers.range, 'bytes=250000-')
})

test('a server that cannot go on gives the file anew, and a whole file is not fetched again', async (context) => {
  const site = await openSite(context, (request, response) => {
    if (request.headers.range === 'bytes=300000-') response.writeHead(416).end()
    else response.writeHead(200, { 'content-length': content.length }).end(content)
  })
  writeFileSync(join(site.folder, `${sha256}.part`), content.subarray(0, 1000))

  assert.ok(readFileSync(await site.fetch()).equals(content))
  assert.ok(readFileSync(await site.fetch()).equals(content))
})

test('a leftover of another file is thrown away and the file fetched from its beginning', async (context) => {
  const site = await openSite(context, serveRange)
  writeFileSync(join(site.folder, `${sha256}.part`), randomBytes(5000))

  assert.ok(readFileSync(await site.fetch()).equals(content))
})

test('another content than the digest says is refused and thrown away', async (context) => {
  const site = await openSite(context, serveRange)

  const refusal = await refusalOf(site.fetch({ sha256: 'ab'.repeat(32) }))

  assert.equal(refusal.code, 'checksum-mismatch')
  assert.deepEqual(readdirSync(site.folder), [])
})

test('addresses of this host are refused, by name, by number and by redirect', async (context) => {
  const site = await openSite(context, (_request, response) => {
    response.writeHead(302, { location: 'http://127.0.0.1:1/secret' }).end()
  })

  for (const url of [
    site.url,
    site.url.replace('127.0.0.1', 'localhost'),
    'http://[::1]/',
    'http://2130706433/',
  ]) {
    assert.equal((await refusalOf(site.fetch({ url, allowPrivate: false }))).code, 'address-refused', url)
  }
  assert.equal(site.seen.length, 0, 'nothing was connected to')
})

test('what is no http address, or holds a password, is refused', async (context) => {
  const site = await openSite(context, serveRange)

  for (const url of [
    'file:///etc/shadow',
    'ftp://example.org/a',
    'gopher://a/',
    '/etc/shadow',
    'http://a:b@example.org/',
  ]) {
    assert.equal((await refusalOf(site.fetch({ url }))).code, 'address-refused', url)
  }
})

test('redirects are followed, but not for ever and not to another scheme', async (context) => {
  const site = await openSite(context, (request, response) => {
    const hops = Number(new URL(request.url ?? '', 'http://a').searchParams.get('hops') ?? -1)
    if (request.url === '/file') response.writeHead(302, { location: 'file:///etc/shadow' }).end()
    else if (hops > 0) response.writeHead(307, { location: `/image?hops=${hops - 1}` }).end()
    else serveRange(request, response)
  })

  await site.fetch({ url: `${site.url}?hops=5` })
  const tooMany = await refusalOf(site.fetch({ url: `${site.url}?hops=6` }))
  const scheme = await refusalOf(site.fetch({ url: site.url.replace('/image', '/file') }))

  assert.match(tooMany.message, /more than 5 times/)
  assert.equal(scheme.code, 'address-refused')
})

test('a body without end is stopped at the limit and leaves nothing', async (context) => {
  const site = await openSite(context, (_request, response) => {
    response.writeHead(200)
    const pump = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      if (!response.destroyed) response.once('drain', pump)
    }
    pump()
  })

  const refusal = await refusalOf(site.fetch({}, { totalBytes: 1_000_000 }))

  assert.equal(refusal.code, 'download-failed')
  assert.match(refusal.message, /larger than/)
  assert.deepEqual(readdirSync(site.folder), [])
})

test('a silent server is given up, and what came stays for the next time', async (context) => {
  const site = await openSite(context, (_request, response) => {
    response.writeHead(200, { 'content-length': content.length })
    response.write(content.subarray(0, 5000))
  })

  const refusal = await refusalOf(site.fetch({}, { idleMs: 100, attempts: 1 }))

  assert.equal(refusal.code, 'download-failed')
  assert.equal(existsSync(join(site.folder, `${sha256}.part`)), true)
})

test('a download that is cancelled ends at once', async (context) => {
  const site = await openSite(context, (_request, response) => {
    response.writeHead(200, { 'content-length': content.length })
    response.write(content.subarray(0, 5000))
  })
  const aborter = new AbortController()
  setTimeout(() => aborter.abort(new Error('enough')), 50)

  await assert.rejects(site.fetch({}, { idleMs: 60_000 }, aborter.signal))
})

test('an error of the server is told with its number', async (context) => {
  const site = await openSite(context, (_request, response) => {
    response.writeHead(404).end('no such file')
  })

  assert.match((await refusalOf(site.fetch())).message, /answered 404/)
})
