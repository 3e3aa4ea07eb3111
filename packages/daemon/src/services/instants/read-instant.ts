/** A disk of an instant as a stream, which ends with the instant. */
import { type ChangedPiece, KvasirError, type SentContents } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import { clipPieces } from './clip-pieces.ts'
import type { LiveInstant } from './live-instant.ts'

/** Opens a disk of an instant to be read; one reader at a time. `busy` while it is read or still copied. */
export function readInstant(
  instant: LiveInstant,
  { disk, driver, signal }: { readonly disk: string; readonly driver: Driver; readonly signal: AbortSignal },
): SentContents {
  const { record, emulator } = driver.view()
  if (!emulator) throw new KvasirError('wrong-state', `VM ${record.name} ended, and the instant with it.`)
  const { row, end } = instant.beginReading(disk)
  const sizeBytes = row.scratch.capacityBytes
  const isIncrement = row.kind === 'increment'
  const over = new AbortController()
  const { instants } = emulator.blocks
  const name = { disk: row.disk, id: row.scratch.id }
  async function* pieces(from: number, to: number): AsyncGenerator<ChangedPiece> {
    const ended = AbortSignal.any([instant.ending, signal, over.signal])
    try {
      yield* clipPieces(instants.read(name, { sizeBytes, isIncrement, signal: ended }), { from, to })
    } finally {
      end()
    }
  }
  return {
    sizeBytes,
    isIncrement,
    tag: row.scratch.id.replaceAll('-', ''),
    pieces,
    async close() {
      over.abort(new KvasirError('cancelled', 'It was read no further.'))
      end()
    },
  }
}
