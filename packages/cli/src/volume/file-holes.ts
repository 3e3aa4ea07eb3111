/**
 * Where a file of this machine has contents, as its file system says, so that holes are not read. Node has no lseek(2); Perl, which every
 * Debian has, does it. Where that cannot be said, the whole file counts as contents.
 */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

/** A stretch of a file with contents; `to` is its first byte that is not. */
export interface Extent {
  readonly from: number
  readonly to: number
}

/** A file in more pieces than these is read as a whole. */
const mostExtents = 50_000
const timeoutMs = 10_000
/** SEEK_DATA is 3 and SEEK_HOLE is 4 (lseek(2), linux/fs.h); past the last contents SEEK_DATA fails. */
const program = `
open my $file, '<&=', 3 or exit 1;
my ($at, $count) = (0, 0);
while (defined(my $from = sysseek $file, $at, 3)) {
  $at = sysseek $file, $from, 4 or exit 1;
  ++$count > ${mostExtents} and exit 1;
  print $from + 0, ' ', $at + 0, "\\n";
}
exit($!{ENXIO} ? 0 : 1);`

/** The contents of a file that is open, in their order. */
export async function findContents(fd: number, sizeBytes: number): Promise<readonly Extent[]> {
  return (await ask(fd)) ?? [{ from: 0, to: sizeBytes }]
}

async function ask(fd: number): Promise<readonly Extent[] | undefined> {
  const child = spawn('perl', ['-MErrno', '-e', program], {
    stdio: ['ignore', 'pipe', 'ignore', fd],
    timeout: timeoutMs,
  })
  const ended = new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null)) // Not every machine has it.
    child.on('close', (code) => resolve(code))
  })
  const [code, lines] = await Promise.all([
    ended,
    child.stdout === null ? '' : text(child.stdout).catch(() => ''),
  ])
  if (code !== 0) return undefined
  return lines.split('\n').flatMap((line) => {
    const [from, to] = line.split(' ').map(Number)
    return from === undefined || to === undefined ? [] : [{ from, to }]
  })
}
