/**
 * The bundle of the command line: packages/cli/.cache/, used by ./kvasir where it is. What a command does not use lies in files of its
 * own and is not read.
 *
 * It is CommonJS: to start with, Node then needs no loader of ES modules, nor reads every export of its own modules for one.
 */
import { dirname, join } from 'node:path'
import { type Bundle, writeBundle } from './bundle.ts'

const cli = join(dirname(import.meta.dirname), 'packages/cli')

/** Loaded from node_modules when they are needed, which is seldom; of ours, what reads captured hosts. */
const external = ['ws', 'yaml', /^@kvasir\/(daemon\/|linux\/(?!cpu-list$))/]

/** Writes the bundle and its starter into a folder beside the sources of the CLI. */
export function bundleCli(folder = join(cli, '.cache')): Promise<Bundle> {
  return writeBundle({ input: join(cli, 'src/main.ts'), folder, isCommonJs: true, external })
}

if (import.meta.main) {
  const { sources } = await bundleCli()
  console.error(`packages/cli/.cache holds the command line, made from ${sources} files`)
}
