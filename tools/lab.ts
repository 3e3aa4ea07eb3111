/** `npm run lab`: a virtual KVM host with a shell. Its words are those of lab/commands.ts; its tests are run by `npm run test:lab`. */
import { runLabCommand } from '../lab/commands.ts'
import { LabRefusal } from '../lab/machine/lab.ts'
import { ensureDebianPackages, PackagesMissing } from './debian-packages.ts'
import { root } from './steps.ts'

const say = (line: string) => console.error(line)

try {
  await ensureDebianPackages(['run', 'images'], say)
  process.exitCode = await runLabCommand(process.argv.slice(2), { checkout: root, say })
} catch (error) {
  if (!(error instanceof PackagesMissing || error instanceof LabRefusal)) throw error
  console.error(error.message)
  process.exitCode = 1
}
