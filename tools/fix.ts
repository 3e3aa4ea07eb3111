/** `npm run fix`: formats, and applies the fixes that the linters are sure of. */
import { runSteps } from './steps.ts'

await runSteps([
  { name: 'format', argv: ['biome', 'check', '--write'] },
  { name: 'lint', argv: ['oxlint', '--type-aware', '--fix'] },
])
