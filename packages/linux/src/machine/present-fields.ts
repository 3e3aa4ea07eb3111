/** Records in which an absent fact is an absent field. */

/** The record without its undefined fields. */
type WithoutAbsent<T> = {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K]
} & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> }

/** Leaves out fields that are undefined, so that an absent fact is an absent field. */
export function withoutAbsent<T extends object>(record: T): WithoutAbsent<T> {
  // The entries are those of T, so the result has T's fields but for the undefined ones.
  return Object.fromEntries(
    Object.entries(record).filter(([, value]) => value !== undefined),
  ) as WithoutAbsent<T>
}
