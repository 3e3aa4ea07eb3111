import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeShare } from './judge-share.ts'

const own = [
  { path: '/var/lib/kvasir', what: 'where Kvasir keeps the state of VMs' },
  { path: '/pools/fast', what: 'where pool fast keeps disks' },
]

function judged(folder: string, seen: { readonly kind?: string | undefined; readonly real?: string } = {}) {
  const refusal = judgeShare({ folder, kind: 'directory', real: folder, ...seen }, own)
  return refusal && `${refusal.code}: ${refusal.message}`
}

test('a folder under its own name can be shared, however its slashes are written', () => {
  assert.equal(judged('/srv/www'), undefined)
  assert.equal(judged('/srv//www/./', { real: '/srv/www' }), undefined)
  assert.equal(judged('/pools/fastest'), undefined)
})

test('what is not there, is no folder, or leads elsewhere is refused', () => {
  assert.match(
    judged('/none', { kind: undefined }) ?? '',
    /^file-not-found: The folder \/none does not exist/,
  )
  assert.match(judged('/etc/motd', { kind: 'regular file' }) ?? '', /is a regular file and not a folder/)
  assert.match(judged('/srv/a', { real: '/etc' }) ?? '', /^bad-request: .*leads through a link to \/etc/)
})

test('folders of the daemon and of pools are not shared, nor what is in them or holds them', () => {
  assert.match(judged('/var/lib/kvasir/nvram') ?? '', /is where Kvasir keeps the state of VMs/)
  assert.match(judged('/pools/fast') ?? '', /is where pool fast keeps disks/)
  assert.match(judged('/var') ?? '', /holds where Kvasir keeps the state of VMs \(\/var\/lib\/kvasir\)/)
  assert.match(judged('/') ?? '', /holds/)
})
