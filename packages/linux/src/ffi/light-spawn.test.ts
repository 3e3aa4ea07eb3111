import assert from 'node:assert/strict'
import { readFileSync, readlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { closeDescriptors, LightSpawner } from './light-spawn.ts'

const perl = '/usr/bin/perl'

function openSpawner(): LightSpawner {
  const spawner = LightSpawner.open()
  assert.ok(spawner, 'This Node can start programs so.')
  return spawner
}

/** Runs a text for perl whose descriptor 5 is a socket to here; answers what it said there, and how it ended. */
async function run(program: string, ...args: readonly string[]) {
  const spawner = openSpawner()
  const pair = spawner.socketPair()
  assert.ok(pair)
  const started = spawner.spawn([perl, '-e', program, ...args], new Map([[5, pair[1]]]))
  closeDescriptors(pair[1])
  assert.ok(started)
  const socket = new Socket({ fd: pair[0] })
  const said = await text(socket)
  return { said, exit: await started.exited, pid: started.pid }
}

test('a program runs with its words and its descriptors, alone in its session, at the root, with no environment', async () => {
  const program = `
    open my $out, '>&=', 5;
    print $out join "\\n", @ARGV, getpgrp() == $$ ? 'leads' : 'follows', readlink('/proc/self/cwd'), scalar(%ENV) || 0,
      map { readlink("/proc/self/fd/$_") // 'closed' } 0 .. 4`

  const { said, exit } = await run(program, 'a word', "an odd one's \u00e9")

  const nothing = '/dev/null'
  assert.deepEqual(said.split('\n').slice(0, 8), [
    'a word',
    "an odd one's \u00e9",
    'leads',
    '/',
    '0',
    nothing,
    nothing,
    nothing,
  ])
  assert.deepEqual(exit, { code: 0, signal: undefined })
})

test('nothing that we have open is in a program that was not given it, and no signal is ignored or held back', async (t) => {
  const file = await open(import.meta.filename)
  t.after(() => file.close())
  const program = `
    open my $out, '>&=', 5;
    print $out join(' ', map { readlink } glob '/proc/self/fd/*'), "\\n";
    open my $status, '<', '/proc/self/status';
    print $out grep { /^Sig(Ign|Blk)/ } <$status>`

  const { said } = await run(program)

  const [files = '', ...signals] = said.trim().split('\n')
  assert.equal(files.includes(import.meta.filename), false)
  assert.equal(files.match(/socket:/g)?.length, 1)
  assert.deepEqual(
    signals.map((line) => BigInt(`0x${line.split(/\s+/)[1]}`) & 0x7fffff7fn), // perl itself ignores SIGFPE.
    [0n, 0n],
  )
})

test('how a program ended is told: by itself, by a signal, and of many that end at once', async () => {
  const spawner = openSpawner()
  const none = new Map<number, number>()
  const ends = Array.from({ length: 40 }, (_, number) =>
    spawner.spawn([perl, '-e', number % 2 === 0 ? `exit ${number}` : 'kill 9, $$; sleep 9'], none),
  )

  const exits = await Promise.all(ends.flatMap((one) => (one ? [one.exited] : [])))

  assert.deepEqual(
    exits,
    Array.from({ length: 40 }, (_, number) =>
      number % 2 === 0 ? { code: number, signal: undefined } : { code: undefined, signal: 'SIGKILL' },
    ),
  )
  assert.equal(process.listenerCount('SIGCHLD'), 0)
  for (const one of ends) assert.throws(() => readFileSync(`/proc/${one?.pid}/status`), { code: 'ENOENT' })
})

test('what does not start changes nothing, and says so', () => {
  const spawner = openSpawner()
  const pair = spawner.socketPair()
  assert.ok(pair)

  assert.equal(spawner.spawn(['/nowhere/program'], new Map()), undefined)
  assert.equal(spawner.spawn([perl, '-e', '1'], new Map([[9_999, pair[1]]])), undefined)
  assert.equal(spawner.spawn([perl, '-e', '1'], new Map([[5, 987_654]])), undefined)

  assert.equal(process.listenerCount('SIGCHLD'), 0)
  assert.match(readlinkSync(`/proc/self/fd/${pair[1]}`), /^socket:/)
  closeDescriptors(...pair, ...pair)
})
