/** Jailed tools for tests: on cages of their own, everything gone afterwards. */
import { join } from 'node:path'
import type { JailedTools } from '../../../ports/jailed-tools.ts'
import type { SecretFiles } from '../../../ports/secrets.ts'
import { openTestCages, type TestCages } from '../../cage/testing/test-cages.ts'
import { openSecretFiles } from '../../files/secret-files.ts'
import { JailSecrets } from '../jail-secrets.ts'
import { openJailedTools } from '../jailed-tools.ts'

/** Users without passwd entries that no other suite uses. */
export const TEST_USERS = { first: 641_100, count: 3 }

export interface TestJail extends AsyncDisposable {
  readonly jailed: JailedTools
  readonly cages: TestCages
  readonly secrets: SecretFiles
}

/** Opens a jail for one test or one file of tests. */
export async function openTestJail(): Promise<TestJail> {
  const cages = await openTestCages()
  const secrets = await openSecretFiles(cages.directory)
  const jailed = await openJailedTools({
    cages: cages.cages,
    users: TEST_USERS,
    socketsRoot: join(cages.directory, 'tools'),
    nodesDirectory: join(cages.directory, 'nodes'),
    secrets: await JailSecrets.open(cages.directory, secrets),
  })
  return { jailed, cages, secrets, [Symbol.asyncDispose]: () => cages[Symbol.asyncDispose]() }
}

/** For tests in which no tool is run. */
export const noJail: JailedTools = {
  run: () => Promise.reject(new Error('A tool was run where none was expected.')),
  serve: () => Promise.reject(new Error('A tool was run where none was expected.')),
}
