/**
 * How arguments of QEMU are written. JSON where QEMU takes it (-device, -object, -blockdev, -netdev): there a value can never
 * become an option. Elsewhere `key=value` lists, in which a comma of a value is doubled (QEMU: util/keyval.c).
 */
import type { OptionValue } from '../storage/volume-source.ts'

/** One option with a JSON object as its value. */
export function jsonOption(
  option: '-blockdev' | '-device' | '-netdev' | '-object',
  value: { readonly [key: string]: OptionValue },
): readonly string[] {
  return [option, JSON.stringify(value)]
}

/** A `key=value,...` list with on and off for booleans; `head` is the leading word, such as a machine type. */
export function keyValues(
  head: string | undefined,
  values: Readonly<Record<string, string | number | boolean | undefined>>,
): string {
  const words = head === undefined ? [] : [escapeCommas(head)]
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue
    words.push(`${key}=${typeof value === 'boolean' ? onOff(value) : escapeCommas(String(value))}`)
  }
  return words.join(',')
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off'
}

function escapeCommas(text: string): string {
  return text.replaceAll(',', ',,')
}
