/**
 * Answers of QEMU binaries, kept on disk so that a daemon that starts again need not ask. A hint only: what is missing, old or
 * unreadable is asked anew, and a cache that cannot be written costs time and nothing else.
 */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { z } from 'zod'
import { replaceFile } from '../files/synced-files.ts'

/** One remembered answer under the identity of what gave it. */
export class CachedAnswer<T> {
  readonly #path: string
  readonly #schema: z.ZodType<T>
  #remembered: { readonly key: string; readonly answer: T } | undefined

  constructor(path: string, schema: z.ZodType<T>) {
    this.#path = path
    this.#schema = schema
  }

  /** The answer that was given under this key. */
  async find(key: string): Promise<T | undefined> {
    this.#remembered ??= await this.#read()
    return this.#remembered?.key === key ? this.#remembered.answer : undefined
  }

  /** The answer that was given last, under whichever key. */
  async last(): Promise<T | undefined> {
    this.#remembered ??= await this.#read()
    return this.#remembered?.answer
  }

  async keep(key: string, answer: T): Promise<void> {
    this.#remembered = { key, answer }
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
      await replaceFile(this.#path, Buffer.from(JSON.stringify({ key, answer })))
    } catch {
      // A full or read-only disk: the answer stays in memory.
    }
  }

  async #read(): Promise<{ readonly key: string; readonly answer: T } | undefined> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#path, 'utf8'))
      if (typeof value !== 'object' || value === null || !('key' in value) || !('answer' in value))
        return undefined
      const parsed = this.#schema.safeParse(value.answer)
      return parsed.success && typeof value.key === 'string'
        ? { key: value.key, answer: parsed.data }
        : undefined
    } catch {
      return undefined
    }
  }
}
