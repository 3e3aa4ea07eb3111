/** The last bytes that came, up to a bound; older ones fall out whole chunks at a time, then to the byte when asked for. */
export class RecentBytes {
  readonly #capacity: number
  #chunks: Uint8Array[] = []
  #size = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    let first = this.#chunks[0]
    while (first && this.#size - first.length >= this.#capacity) {
      this.#size -= first.length
      this.#chunks.shift()
      first = this.#chunks[0]
    }
  }

  /** At most the capacity, oldest first. */
  read(): Uint8Array {
    const all = Buffer.concat(this.#chunks)
    return all.subarray(Math.max(0, all.length - this.#capacity))
  }

  clear(): void {
    this.#chunks = []
    this.#size = 0
  }
}
