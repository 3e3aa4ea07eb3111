/** Asking a pool about many volumes: a few at a time, since it refuses more questions than it can keep waiting. */

/** Fewer than a pool lets wait, so that others have their turn too. */
const atOnce = 8

/** The answers, in the order of the items. */
export async function askFewAtOnce<Item, Answer>(
  items: readonly Item[],
  ask: (item: Item) => Promise<Answer>,
): Promise<Answer[]> {
  const answers: Answer[] = []
  for (let first = 0; first < items.length; first += atOnce)
    answers.push(...(await Promise.all(items.slice(first, first + atOnce).map(ask))))
  return answers
}
