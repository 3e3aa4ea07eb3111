/** Which archives the lab's packages come from: those that this machine's apt uses for Debian. */
import { runCommand } from '@kvasir/linux'

const lookUpTimeoutMs = 30_000

/** The lines of a sources.list for a release. Throws a sentence when apt knows no archive of Debian. */
export async function archiveLines(suite: string): Promise<readonly string[]> {
  const argv = [
    'apt-get',
    'indextargets',
    '--format',
    '$(ORIGIN)|$(LABEL)|$(REPO_URI)',
    'Created-By: Packages',
  ]
  const { stdout } = await runCommand(argv, { timeoutMs: lookUpTimeoutMs })
  const targets = stdout.split('\n').map((line) => line.split('|'))
  const uriOf = (label: string) =>
    targets.find(([origin, itsLabel]) => origin === 'Debian' && itsLabel === label)?.[2]
  const main = uriOf('Debian')
  if (main === undefined)
    throw new Error("This machine's apt knows no archive of Debian, so there is no lab.")
  const security = uriOf('Debian-Security')
  return [
    `deb ${main} ${suite} main`,
    `deb ${main} ${suite}-updates main`,
    ...(security === undefined ? [] : [`deb ${security} ${suite}-security main`]),
  ]
}
