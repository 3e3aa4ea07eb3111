/** The port's promises, kept by files in a directory. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needs } from '../../../../../tools/require.ts'
import { testPoolFiles } from '../../ports/files.suite.ts'
import { openTestJail } from '../jail/testing/test-jail.ts'
import { openDirectoryFiles } from './directory-files.ts'

testPoolFiles({
  name: 'directory files',
  skip: needs('root', 'qemu'),
  async open(t) {
    const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
    t.after(() => rm(stateDir, { recursive: true, force: true }))
    const jail = await openTestJail()
    t.after(() => jail[Symbol.asyncDispose]())
    const files = await openDirectoryFiles({ stateDir, jailed: jail.jailed, reservedBytes: 0 })
    return {
      files,
      writePartialSave: (vmId, content) => writeFile(files.partialSavePath(vmId), content),
    }
  },
})
