/**
 * Pieces of a disk as a qcow2 file (QEMU: docs/interop/qcow2.txt, version 3, clusters of 64 KiB), written from the beginning to the end:
 * the data in order, each table of a part of the disk behind its data, the counts behind all, and the header last. So a file that was not
 * finished is none of qcow2.
 *
 * What is as before is left to the file that this one is laid over; zeros are written down as such then. Every cluster is used once.
 */
import type { FileHandle } from 'node:fs/promises'
import type { ChangedPiece } from '@kvasir/contract/contents'

const clusterBytes = 65_536
const entriesPerTable = clusterBytes / 8
const countsPerBlock = clusterBytes / 2
const headerBytes = 104
/** What is written to the file at once. */
const gatheredClusters = 16
const copied = 1n << 63n
const readsAsZeros = 1n
const zeroCluster = Buffer.alloc(clusterBytes)

export class Qcow2File {
  readonly #file: FileHandle
  readonly #sizeBytes: number
  /** It tells of changes, and is to be laid over another file. */
  readonly #isIncrement: boolean
  readonly #l1: Buffer
  readonly #pending = Buffer.alloc(clusterBytes)
  #gathered: Buffer[] = []
  #l2 = Buffer.alloc(clusterBytes)
  /** Which part of the disk `l2` is about, and whether there is anything in it. */
  #part = 0
  #isUsed = false
  #next: number
  #at = 0
  /** What the cluster of now has. */
  #pendingBytes = 0

  constructor(
    file: FileHandle,
    { sizeBytes, isIncrement }: { readonly sizeBytes: number; readonly isIncrement: boolean },
  ) {
    this.#file = file
    this.#sizeBytes = sizeBytes
    this.#isIncrement = isIncrement
    const parts = Math.ceil(sizeBytes / (entriesPerTable * clusterBytes))
    this.#l1 = Buffer.alloc(Math.max(1, Math.ceil(parts / entriesPerTable)) * clusterBytes)
    this.#next = 1 + this.#l1.length / clusterBytes
  }

  /** Takes the next piece. */
  async put(piece: ChangedPiece): Promise<void> {
    if (piece.kind === 'data') await this.#putBytes(piece.bytes)
    else await this.#skip(piece)
  }

  /** Writes what is missing. */
  async finish(): Promise<void> {
    if (this.#at !== this.#sizeBytes) throw new Error('The disk is longer than what came of it.')
    if (this.#pendingBytes > 0) {
      this.#pending.fill(0, this.#pendingBytes)
      await this.#endCluster(this.#pending)
    }
    await this.#endPart()
    await this.#flush()
    const [tableCluster, tableClusters] = await this.#writeCounts()
    await this.#write(this.#l1, clusterBytes)
    await this.#file.datasync()
    await this.#write(this.#header(tableCluster, tableClusters), 0)
  }

  async #putBytes(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const inCluster = this.#at % clusterBytes
      const taken = bytes.subarray(from, from + clusterBytes - inCluster)
      this.#pending.set(taken, inCluster)
      from += taken.length
      this.#at += taken.length
      this.#pendingBytes += taken.length
      if (this.#at % clusterBytes === 0) await this.#endCluster(this.#pending)
    }
  }

  async #skip({ kind, lengthBytes }: Exclude<ChangedPiece, { kind: 'data' }>): Promise<void> {
    for (let left = lengthBytes; left > 0; ) {
      const inCluster = this.#at % clusterBytes
      const taken = Math.min(left, clusterBytes - inCluster)
      const isWhole = taken === clusterBytes || (inCluster === 0 && this.#at + taken === this.#sizeBytes)
      if (!isWhole && kind === 'same') throw new Error('What changed does not begin and end at a cluster.')
      if (!isWhole) {
        await this.#putBytes(zeroCluster.subarray(0, taken))
        left -= taken
        continue
      }
      await this.#enter(Math.floor(this.#at / clusterBytes))
      if (kind === 'zeros') this.#noteZeros(Math.floor(this.#at / clusterBytes))
      this.#at += taken
      left -= taken
    }
  }

  async #endCluster(bytes: Buffer): Promise<void> {
    this.#pendingBytes = 0
    const cluster = Math.floor((this.#at - 1) / clusterBytes)
    await this.#enter(cluster)
    if (bytes.equals(zeroCluster)) {
      this.#noteZeros(cluster)
      return
    }
    this.#l2.writeBigUInt64BE(copied | BigInt(this.#next * clusterBytes), (cluster % entriesPerTable) * 8)
    this.#isUsed = true
    this.#append(Buffer.from(bytes))
    if (this.#gathered.length >= gatheredClusters) await this.#flush()
  }

  #noteZeros(cluster: number): void {
    if (!this.#isIncrement) return
    this.#l2.writeBigUInt64BE(readsAsZeros, (cluster % entriesPerTable) * 8)
    this.#isUsed = true
  }

  /** Comes to a cluster of the disk; the table of the part before is written. */
  async #enter(cluster: number): Promise<void> {
    const part = Math.floor(cluster / entriesPerTable)
    if (part === this.#part) return
    await this.#endPart()
    this.#part = part
  }

  async #endPart(): Promise<void> {
    if (!this.#isUsed) return
    this.#l1.writeBigUInt64BE(copied | BigInt(this.#next * clusterBytes), this.#part * 8)
    this.#append(this.#l2)
    this.#l2 = Buffer.alloc(clusterBytes)
    this.#isUsed = false
    await this.#flush()
  }

  #append(bytes: Buffer): void {
    this.#gathered.push(bytes)
    this.#next++
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#gathered)
    await this.#write(bytes, this.#next * clusterBytes - bytes.length)
    this.#gathered = []
  }

  /** The counts of all clusters, their own too: each is used once. Answers where their table is. */
  async #writeCounts(): Promise<readonly [cluster: number, clusters: number]> {
    const used = this.#next
    let [blocks, tables] = [1, 1]
    for (;;) {
      const total = used + blocks + tables
      const neededBlocks = Math.ceil(total / countsPerBlock)
      const neededTables = Math.ceil(neededBlocks / entriesPerTable)
      if (neededBlocks === blocks && neededTables === tables) break
      blocks = neededBlocks
      tables = neededTables
    }
    const total = used + blocks + tables
    const table = Buffer.alloc(tables * clusterBytes)
    for (let block = 0; block < blocks; block++) {
      const counts = Buffer.alloc(clusterBytes)
      const end = Math.min(countsPerBlock, total - block * countsPerBlock)
      for (let index = 0; index < end; index++) counts.writeUInt16BE(1, index * 2)
      table.writeBigUInt64BE(BigInt((used + block) * clusterBytes), block * 8)
      await this.#write(counts, (used + block) * clusterBytes)
    }
    await this.#write(table, (used + blocks) * clusterBytes)
    return [used + blocks, tables]
  }

  #header(tableCluster: number, tableClusters: number): Buffer {
    const header = Buffer.alloc(headerBytes + 8)
    header.write('QFI\xfb', 0, 'latin1')
    header.writeUInt32BE(3, 4)
    header.writeUInt32BE(Math.log2(clusterBytes), 20)
    header.writeBigUInt64BE(BigInt(this.#sizeBytes), 24)
    header.writeUInt32BE(Math.ceil(this.#sizeBytes / (entriesPerTable * clusterBytes)), 36)
    header.writeBigUInt64BE(BigInt(clusterBytes), 40)
    header.writeBigUInt64BE(BigInt(tableCluster * clusterBytes), 48)
    header.writeUInt32BE(tableClusters, 56)
    header.writeUInt32BE(4, 96) // 16 bits for each count.
    header.writeUInt32BE(headerBytes, 100)
    return header
  }

  async #write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
  }
}
