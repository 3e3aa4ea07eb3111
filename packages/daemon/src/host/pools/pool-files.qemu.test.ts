/** The port's promises, kept by files in a directory. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needs } from '../../../../../tools/require.ts'
import { testPoolFiles } from '../../ports/files.suite.ts'
import { openDirectoryFiles } from './directory-files.ts'

testPoolFiles({
  name: 'directory files',
  skip: needs('qemu'),
  async open(t) {
    const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
    t.after(() => rm(stateDir, { recursive: true, force: true }))
    const files = await openDirectoryFiles({ stateDir, reservedBytes: 0 })
    return {
      files,
      writePartialSave: (vmId, content) => writeFile(files.partialSavePath(vmId), content),
    }
  },
})
