/**
 * Says by its exit code whether node_modules holds what package-lock.json says: 0 yes, 1 no. Run by the system's Node 20 or newer
 * before anything is installed, so it is plain JavaScript and imports nothing of ours.
 *
 * npm keeps what it installed in node_modules/.package-lock.json; an optional package of another platform may be absent from it.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = process.argv[2] ?? '.'

/** The packages of a lockfile by their paths, or nothing when there is no such file. */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), 'utf8')).packages ?? {}
  } catch {
    return {}
  }
}

/** What tells two packages apart: their content, or where a workspace's link leads. */
function identity(entry) {
  return entry.integrity ?? entry.resolved ?? entry.version
}

/** Whether a package was made for exactly this machine, as the binaries of Node and of the linters are. */
function isForThisMachine(entry) {
  const isMusl = [entry.libc ?? []].flat().includes('musl')
  return (
    [entry.cpu ?? []].flat().includes(process.arch) && [entry.os ?? []].flat().includes('linux') && !isMusl
  )
}

const wanted = Object.entries(readPackages('package-lock.json')).filter(([path]) =>
  path.startsWith('node_modules/'),
)
const present = readPackages('node_modules/.package-lock.json')

function isInstalled([path, entry]) {
  const found = present[path]
  if (found === undefined) return entry.optional === true && !isForThisMachine(entry)
  return identity(found) === identity(entry)
}

process.exitCode = wanted.length > 0 && wanted.every(isInstalled) ? 0 : 1
