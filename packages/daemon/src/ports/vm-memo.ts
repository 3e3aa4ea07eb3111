/** The memo: what is written down beside an emulator at its launch, from which a damaged store is mended while the VM runs. */
import { z } from 'zod'
import type { VmRecord } from './store.ts'
import { decodeVmRecord, encodeVmRecord } from './vm-record.ts'

export interface VmMemo {
  readonly record: VmRecord
  readonly accelerator: 'kvm' | 'tcg'
  readonly acceleratorReason: string
}

const memo = z.object({
  record: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  acceleratorReason: z.string(),
})

/** Writes a memo as text. */
export function encodeMemo(value: VmMemo): string {
  return JSON.stringify({ ...value, record: encodeVmRecord({ ...value.record, run: undefined }) })
}

/** Reads a memo; undefined when it is not one. Never throws. */
export function decodeMemo(text: string): VmMemo | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const parsed = memo.safeParse(value)
  if (!parsed.success) return undefined
  const decoded = decodeVmRecord(parsed.data.record)
  return decoded.kind === 'record' ? { ...parsed.data, record: decoded.record } : undefined
}
