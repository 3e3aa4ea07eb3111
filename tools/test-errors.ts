/** Loaded before each test file: a test that fails hands the runner its whole error, of which it would get only a part. */
import { afterEach } from 'node:test'
import { tellWholeError } from './whole-error.ts'

afterEach((context) => {
  if ('error' in context && context.error instanceof Error) tellWholeError(context.error)
})
