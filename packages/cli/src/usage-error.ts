/** A command line that cannot be understood: a sentence, and what to write instead. Ends the CLI with exit code 2. */
export class UsageError extends Error {
  /** How to go on, such as `See: kvasir vm list --help`. */
  readonly advice: string

  constructor(sentence: string, advice: string) {
    super(sentence)
    this.name = 'UsageError'
    this.advice = advice
  }
}
