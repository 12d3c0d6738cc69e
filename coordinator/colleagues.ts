/**
 * What one coordinator tells the others of a farm, so that nodes and verifiers that wait there are woken at once: that something
 * may have changed, or that there are tasks to look at. What is so, each reads in the database. A message that is lost, doubled or late costs
 * nothing but time, since everybody looks again by itself after a while.
 */
import { z } from 'zod';
import type { Spoken } from '../platform/nats/spoken.ts';
import { newIdBody } from '../platform/new-id.ts';
import { type TaskPointer, taskPointerSchema } from '../protocol/messages.ts';

/**
 * `anything`: all look. `room`: a node delivered, so it may have more, and a batch may be full. `taken`: tasks went out, so others can be
 * published. `waiting`: nodes wait here for tasks. `arrived`: a file that a check waits for may be there. `money`: batches were closed.
 */
const wordSchema = z.enum(['anything', 'room', 'taken', 'waiting', 'arrived', 'money']);
export type Word = z.infer<typeof wordSchema>;

const messageSchema = z.strictObject({
  from: z.string().max(100),
  words: z.array(wordSchema),
  /** On the to-do list, and of no use to the nodes that wait where they are held. */
  offer: z.array(taskPointerSchema).optional(),
});

/** Members publish below `node.` and `verifier.` only (platform/nats/authority.ts): nobody else gets onto this subject. */
export const COLLEAGUES_SUBJECT = 'coordinators.changed';

/** Words of this time go together: a busy coordinator takes thousands of results a second, and a node waits for none of them longer. */
const TOGETHER_MS = 25;

export class Colleagues implements Disposable {
  readonly #spoken: Spoken;
  readonly #me = newIdBody(Date.now());
  readonly #words = new Set<Word>();
  #resting: NodeJS.Timeout | undefined;

  /** `wake` is what this coordinator does about each word of another. */
  constructor(
    spoken: Spoken,
    wake: Readonly<Record<Word, () => void>>,
    onOffer: (pointers: readonly TaskPointer[]) => void,
  ) {
    this.#spoken = spoken;
    spoken.listen((message) => {
      const heard = messageSchema.safeParse(message);
      if (!heard.success || heard.data.from === this.#me) return;
      for (const word of new Set(heard.data.words)) wake[word]();
      if (heard.data.offer !== undefined) onOffer(heard.data.offer);
    });
  }

  /** Tells the others, soon. Never fails: without a connection they find out by themselves. */
  tell(word: Word): void {
    this.#words.add(word);
    if (this.#resting === undefined) this.#say();
  }

  /** Lets the others try their nodes on what is held here. */
  offer(pointers: readonly TaskPointer[]): void {
    this.#spoken.say({ from: this.#me, words: [], offer: pointers });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#resting);
    this.#spoken.end();
  }

  #say(): void {
    this.#resting = undefined;
    if (this.#words.size === 0) return;
    this.#spoken.say({ from: this.#me, words: [...this.#words] });
    this.#words.clear();
    this.#resting = setTimeout(() => this.#say(), TOGETHER_MS);
    this.#resting.unref();
  }
}
