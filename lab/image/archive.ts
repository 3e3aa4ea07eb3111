/** Which archives the lab's packages come from: those that this machine's apt uses for Debian. */
import { runCommand } from '@kvasir/linux'

const lookUpTimeoutMs = 30_000
const updateTimeoutMs = 300_000

/**
 * The lines of a sources.list for a release, with its updates, and for what else is named after it. Throws a sentence when apt knows no
 * archive of Debian.
 */
export async function archiveLines([suite, ...others]: readonly [string, ...string[]]): Promise<
  readonly string[]
> {
  let archives = await knownArchives()
  if (archives.main === undefined) {
    // Whose archive it is stands in lists that a machine may never have fetched.
    await runCommand(['apt-get', '-q', 'update'], { timeoutMs: updateTimeoutMs })
    archives = await knownArchives()
  }
  const { main, security } = archives
  if (main === undefined)
    throw new Error("This machine's apt knows no archive of Debian, so there is no lab.")
  return [
    `deb ${main} ${suite} main`,
    `deb ${main} ${suite}-updates main`,
    ...others.map((other) => `deb ${main} ${other} main`),
    ...(security === undefined ? [] : [`deb ${security} ${suite}-security main`]),
  ]
}

async function knownArchives(): Promise<{
  readonly main: string | undefined
  readonly security: string | undefined
}> {
  const format = '$(ORIGIN)|$(LABEL)|$(REPO_URI)'
  const argv = ['apt-get', 'indextargets', '--format', format, 'Created-By: Packages']
  const { stdout } = await runCommand(argv, { timeoutMs: lookUpTimeoutMs })
  const targets = stdout.split('\n').map((line) => line.split('|'))
  const uriOf = (label: string) =>
    targets.find(([origin, itsLabel]) => origin === 'Debian' && itsLabel === label)?.[2]
  return { main: uriOf('Debian'), security: uriOf('Debian-Security') }
}
