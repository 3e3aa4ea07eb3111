/** The tables of `kvasir completion` and of the hidden `kvasir complete`. */
import type { Verbs } from '../command.ts'

export const completionCommand: Verbs = {
  '': {
    examples: ['completion bash > /etc/bash_completion.d/kvasir'],
    summary: 'Print the completion script of a shell; source it from the shell’s start-up file.',
    arguments: [{ name: 'SHELL', completes: ['bash', 'zsh', 'fish'] }],
    load: async () => (await import('../completion/scripts.ts')).printScript,
  },
}

export const completeCommand: Verbs = {
  '': {
    summary: 'Print what may follow the words after --, one candidate a line.',
    arguments: [{ name: 'WORD', rest: true, optional: true }],
    passThrough: true,
    load: async () => (await import('../completion/complete.ts')).printCandidates,
  },
}
