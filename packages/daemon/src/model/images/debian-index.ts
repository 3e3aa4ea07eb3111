/**
 * Reads what apt prints about packages: stanzas of `apt-cache show` (deb-control(5)) and lines of
 * `apt-get download --print-uris` (apt-get(8)).
 *
 * Not here: running apt (host/images/debian-packages.ts).
 */

/** One package file as the archive's signed index names it. */
export interface PackageFile {
  readonly name: string
  readonly version: string
  readonly fileName: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** One binary package of an index: what it is called and what it cannot be unpacked without. */
export interface PackageStanza {
  readonly name: string
  readonly version: string
  readonly depends: readonly string[]
}

/** Reads the stanzas of `apt-cache show`; of alternatives in a dependency the first is taken. */
export function parsePackageStanzas(text: string): readonly PackageStanza[] {
  return text
    .split(/\n\s*\n/)
    .map((stanza) => ({
      name: field(stanza, 'Package') ?? '',
      version: field(stanza, 'Version') ?? '',
      depends: [
        ...dependencyNames(field(stanza, 'Pre-Depends')),
        ...dependencyNames(field(stanza, 'Depends')),
      ],
    }))
    .filter((stanza) => stanza.name !== '')
}

function field(stanza: string, name: string): string | undefined {
  const line = stanza.split('\n').find((candidate) => candidate.startsWith(`${name}: `))
  return line?.slice(name.length + 2).trim()
}

function dependencyNames(list: string | undefined): readonly string[] {
  if (list === undefined || list === '') return []
  return list.split(',').flatMap((alternatives) => /^\s*([a-z0-9][a-z0-9.+-]*)/.exec(alternatives)?.[1] ?? [])
}

/** Reads the lines `'URI' file size SHA256:hash`; a line without a SHA-256 is left out, since it could not be verified. */
export function parsePrintUris(text: string): readonly PackageFile[] {
  return text.split('\n').flatMap((line) => {
    const match = /^'[^']*' (\S+) (\d+) SHA256:([0-9a-f]{64})\s*$/.exec(line)
    if (match === null) return []
    const [, fileName = '', size = '', sha256 = ''] = match
    const [name = '', version = ''] = fileName.split('_')
    return [
      { name, version: decodeURIComponent(version), fileName, sizeBytes: Number(size), sha256 },
    ] satisfies PackageFile[]
  })
}
