/** `kvasir` as a person types it, against the daemon of a world: what must go, what must be refused, what it shows. */
import assert from 'node:assert/strict'
import { type CliRun, runCli } from '../machine/cli.ts'
import type { World } from '../machine/world.ts'

export class CommandLine {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /** Runs what must succeed; answers what it printed. */
  async run(...argv: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#world.cli(...argv)
    assert.equal(code, 0, `kvasir ${argv.join(' ')} ended with ${code}: ${stdout}${stderr}`)
    return stdout
  }

  /** As `run`, with something on stdin. */
  async give(input: string, ...argv: readonly string[]): Promise<void> {
    const { code, stderr } = await runCli(this.#world.place, argv, { input })
    assert.equal(code, 0, `kvasir ${argv.join(' ')} ended with ${code}: ${stderr}`)
  }

  /** What a command shows, as a value. */
  async show<T>(...argv: readonly string[]): Promise<T> {
    return JSON.parse(await this.run(...argv, '-o', 'json'))
  }

  /** Runs what must be refused, in words that a person understands: neither a defect nor a failure of ours. */
  async refused(says: RegExp, ...argv: readonly string[]): Promise<CliRun> {
    const ran = await this.#world.cli(...argv)
    const words = `kvasir ${argv.join(' ')} ended with ${ran.code}: ${ran.stdout}${ran.stderr}`
    assert.ok(ran.code !== null && ran.code > 0, words)
    assert.doesNotMatch(ran.stderr, /\((?:internal|host-failed|emulator-failed)\)/, words)
    assert.match(ran.stderr, says, words)
    return ran
  }
}
