/** The table of `kvasir event`. */
import type { Verbs } from '../command.ts'

export const eventVerbs: Verbs = {
  watch: {
    summary: 'Print what happens, as it happens; Ctrl-C ends it.',
    examples: ['event watch', 'event watch --after 0 -o json | grep vm.state'],
    flags: {
      after: { summary: 'Begin after this number; 0 is the oldest that is kept.', value: 'SEQ' },
      count: { summary: 'End after so many events.', value: 'N' },
    },
    load: async () => (await import('../event/watch.ts')).watchEvents,
  },
}
