/** Folders of the operating system's own, in which nobody keeps disks and anybody may find files by surprise (file-hierarchy(7), FHS 3.0). */
const withAllBelow = [
  '/bin',
  '/boot',
  '/dev',
  '/etc',
  '/lib',
  '/lib32',
  '/lib64',
  '/proc',
  '/sbin',
  '/sys',
  '/usr',
]
const themselves = ['/', '/home', '/root', '/run', '/tmp', '/var', '/var/lib', '/var/tmp']

/** Whether a folder, whose path is absolute and without `..`, belongs to the system, so that no pool is made of it. */
export function isOfTheSystem(path: string): boolean {
  return themselves.includes(path) || withAllBelow.some((folder) => `${path}/`.startsWith(`${folder}/`))
}
