/**
 * Which kernel modules a guest image needs, and in what order they load.
 *
 * Debian's kernel packages carry no modules.dep (it is written when the package is installed), so the dependencies are read
 * from the `.modinfo` strings that every module holds (kernel: include/linux/module.h, MODULE_INFO).
 *
 * Not here: reading the files (host/images).
 */

/** A module's name as the kernel spells it: the kernel takes `-` and `_` for the same letter. */
export function moduleName(fileName: string): string {
  return fileName.replace(/\.ko(\.(xz|gz|zst))?$/, '').replaceAll('-', '_')
}

/** Reads the names of the modules that a module (its uncompressed bytes) depends on directly. */
export function readModuleDepends(module: Uint8Array): readonly string[] {
  const [list = ''] = readStrings(module, 'depends')
  return list === '' ? [] : list.split(',').map(moduleName)
}

/** Reads the names of file systems under which the kernel asks for a module when one of them is mounted (`fs-NAME`, fs/filesystems.c). */
export function readFileSystemAliases(module: Uint8Array): readonly string[] {
  return readStrings(module, 'alias').filter((alias) => alias.startsWith('fs-'))
}

/** The values of a key of `.modinfo`. */
function readStrings(module: Uint8Array, key: string): readonly string[] {
  const bytes = Buffer.from(module.buffer, module.byteOffset, module.byteLength)
  const before = `\0${key}=`
  const values: string[] = []
  for (let start = bytes.indexOf(before); start >= 0; start = bytes.indexOf(before, start + 1)) {
    const end = bytes.indexOf(0, start + 1)
    if (end < 0) break
    values.push(bytes.toString('latin1', start + before.length, end))
  }
  return values
}

/**
 * Orders the wanted modules and all they depend on so that each comes after its dependencies. A wanted module that is not
 * in `dependsOf` is left out, since kernels differ in what they build in; so is a dependency that is built in.
 */
export function moduleLoadOrder(
  wanted: readonly string[],
  dependsOf: (name: string) => readonly string[] | undefined,
): readonly string[] {
  const order: string[] = []
  const seen = new Set<string>()
  const visit = (name: string): void => {
    if (seen.has(name)) return
    seen.add(name)
    const depends = dependsOf(name)
    if (depends === undefined) return
    for (const dependency of depends) visit(dependency)
    order.push(name)
  }
  for (const name of wanted) visit(moduleName(name))
  return order
}

/** Writes the `modules.dep` that modprobe reads: each file, then everything it needs, nearest first (man modules.dep). */
export function writeModulesDep(
  files: ReadonlyMap<string, string>,
  dependsOf: (name: string) => readonly string[] | undefined,
): string {
  const lines = [...files].map(([name, file]) => {
    const needed = moduleLoadOrder([name], dependsOf).slice(0, -1).reverse()
    return `${file}: ${needed.flatMap((dependency) => files.get(dependency) ?? []).join(' ')}`.trimEnd()
  })
  return `${lines.join('\n')}\n`
}

/** Writes the `modules.alias` that modprobe reads: another name of a module on each line (man modules.dep). */
export function writeModulesAlias(aliasesOf: ReadonlyMap<string, readonly string[]>): string {
  return [...aliasesOf]
    .flatMap(([name, aliases]) => aliases.map((alias) => `alias ${alias} ${name}\n`))
    .join('')
}
