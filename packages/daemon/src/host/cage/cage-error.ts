/**
 * The one error of the cage. A step names the part of the launch that did not work, so that a person knows which part of the host
 * to look at; `stderr` is what the tool of that step said.
 */

/** Where a launch can end, in their order. */
export const cageSteps = [
  'template',
  'request',
  'spawn',
  'namespaces',
  'descriptors',
  'limits',
  'pipes',
  'mounts',
  'cgroup',
  'admission',
  'log',
  'root',
  'exec',
] as const

export type CageStep = (typeof cageSteps)[number]

/** A cage could not be closed around a program, so the program was not run. Everything made for it has been undone. */
export class CageError extends Error {
  override readonly name = 'CageError'
  readonly step: CageStep
  readonly stderr: string

  constructor(step: CageStep, message: string, options: { stderr?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.step = step
    this.stderr = options.stderr ?? ''
  }
}
