/** `tessera why` for people. Pure. */
import type { JobWhy } from '../protocol/why.ts';

/** Names of so many nodes are still read; of more, their number says enough. */
const MOST_NAMES = 8;

/** The sentence, then how the nodes stand to the job. */
export function whyLines({ summary, nodes }: JobWhy): string[] {
  return [
    summary,
    ...nodes.map(({ ids, text }) => {
      const more = ids.length > MOST_NAMES ? ` and ${ids.length - MOST_NAMES} more` : '';
      return `  ${ids.slice(0, MOST_NAMES).join(', ')}${more}: ${text}`;
    }),
  ];
}
