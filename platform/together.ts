/**
 * Work that costs about the same for one as for many: while one group of it is under way the next gathers, so that a
 * program under load works on large groups and one that is idle answers at once. No timer is involved.
 */

/** What became of one of a group. */
export type Settled<Out> = { value: Out } | { error: unknown };

export class Together<In, Out> {
  readonly #work: (items: In[]) => Promise<Settled<Out>[]>;
  readonly #most: number;
  readonly #waiting: { item: In; settle: (result: Settled<Out>) => void }[] = [];
  #working = false;

  /** `work` answers for each of its items, in their order; where it throws, all of them fail with that. */
  constructor(work: (items: In[]) => Promise<Settled<Out>[]>, most: number) {
    this.#work = work;
    this.#most = most;
  }

  run(item: In): Promise<Out> {
    return new Promise((resolve, reject) => {
      const settle = (result: Settled<Out>): void => {
        if ('error' in result) reject(result.error);
        else resolve(result.value);
      };
      this.#waiting.push({ item, settle });
      if (!this.#working) void this.#workOn();
    });
  }

  async #workOn(): Promise<void> {
    this.#working = true;
    // What arrives in the same turn of the event loop goes together from the start.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.#most);
      let results: Settled<Out>[];
      try {
        results = await this.#work(group.map(({ item }) => item));
      } catch (error) {
        results = group.map(() => ({ error }));
      }
      for (const [index, { settle }] of group.entries())
        settle(results[index] ?? { error: new Error('the group was not answered for') });
    }
    this.#working = false;
  }
}
