import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { sendMessage } from './ffi/send-message.ts'
import { sendByProcess, sendDescriptor } from './send-descriptor.ts'
import { connectPair, type SocketEnd } from './socket-pair.ts'

/** Takes one message from descriptor 3 by recvmsg(2), and tells its text and what is in the file that came with it. */
const receiver = `
my ($bytes, $control) = ("\\0" x 4096, "\\0" x 24);
my $vector = pack 'P Q', $bytes, 4096;
my $header = pack 'Q L x4 P Q P Q i x4', 0, 0, $vector, 1, $control, 24, 0;
my $fds = ''; vec($fds, 3, 1) = 1; select $fds, undef, undef, 20;
my $length = syscall({ x64 => 47, arm64 => 212 }->{$ARGV[0]}, 3, $header, 0);
my ($size, $level, $type, $file) = unpack 'Q i i i', $control;
open my $handle, '<&=', $file or die "no file came: $!";
print substr($bytes, 0, $length), ' with ', scalar <$handle>;
`

async function roomFor(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-send-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await writeFile(join(directory, 'file'), 'what the file holds')
  const file = await open(join(directory, 'file'))
  t.after(() => file.close())
  const [ours, theirs] = await connectPair(directory)
  t.after(() => ours.release())
  return { file, ours, theirs }
}

async function receivedBy(end: SocketEnd): Promise<string> {
  const child = spawn('perl', ['-e', receiver, process.arch], {
    stdio: ['ignore', 'pipe', 'inherit', end.fd],
  })
  end.release()
  assert.ok(child.stdout)
  return await text(child.stdout)
}

for (const [how, send] of [
  ['by this process', sendDescriptor],
  ['by a process of its own', sendByProcess],
] as const)
  test(`a file is handed over ${how}, beside its text`, async (t) => {
    const { file, ours, theirs } = await roomFor(t)

    await send(ours.fd, { text: 'a word', descriptor: file.fd })

    assert.equal(await receivedBy(theirs), 'a word with what the file holds')
  })

test('what this process can send it sends itself', async (t) => {
  const { file, ours } = await roomFor(t)

  assert.equal(sendMessage(ours.fd, Buffer.from('a word'), file.fd), 6)
})

test('a socket that is full, or whose other end is gone, takes nothing, and nobody waits', async (t) => {
  const { file, ours, theirs } = await roomFor(t)
  const block = Buffer.alloc(16_384)

  let sent = 0
  while (sent < 10_000 && sendMessage(ours.fd, block, file.fd) !== undefined) sent++
  assert.ok(sent > 0 && sent < 10_000)
  theirs.release()
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(sendMessage(ours.fd, block, file.fd), undefined)
})

test('a descriptor that is not open is refused, with what the kernel says', async (t) => {
  const { ours } = await roomFor(t)

  await assert.rejects(sendDescriptor(ours.fd, { text: 'a word', descriptor: 9_999 }))
})
