/** Times for people: local, to the second, with how long ago; JSON and YAML keep ISO 8601 with its zone. */

const units = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
] as const

/** A time of the API as the clock on the wall shows it, such as `2026-11-21 10:06:40`. */
export function localTime(iso: string): string {
  const date = new Date(iso)
  if (Number.isNaN(date.getTime())) return iso
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`
}

/** A time with how long ago it was, such as `2026-11-21 10:06:40, 5 min ago`. */
export function timeAndAge(iso: string, nowMs: number): string {
  const seconds = (nowMs - Date.parse(iso)) / 1000
  return Number.isFinite(seconds) && seconds >= 0 ? `${localTime(iso)}, ${age(seconds)} ago` : localTime(iso)
}

/** A duration in its largest unit, rounded down. */
function age(seconds: number): string {
  const [unit, size] = units.find(([, least]) => seconds >= least) ?? ['s', 1]
  return `${Math.floor(seconds / size)} ${unit}`
}
