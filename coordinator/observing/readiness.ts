/** Whether the parts that a coordinator needs answer now: asked, not remembered. */
import { type FarmError, toFarmError } from '../../protocol/errors.ts';

export type Part = 'database' | 'messages' | 'chain';
export type PartState = { ok: true; ms: number } | { ok: false; reason: string };
export type Parts = Record<Part, PartState>;

export type ReadinessOptions = {
  /** Resolves when the part has answered. */
  probes: Record<Part, (signal: AbortSignal) => Promise<unknown>>;
  /** A part that takes longer is as good as gone. */
  limitMs: number;
  /** Told when a part goes and when it is back. */
  onChange: (part: Part, state: PartState, error: FarmError | null) => void;
};

export class Readiness {
  readonly #options: ReadinessOptions;
  readonly #was = new Map<Part, boolean>();
  /** Probes that were given up and have not ended: a part that hangs is not asked again and again. */
  readonly #hanging = new Set<Part>();
  #asking: Promise<Parts> | undefined;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Asks every part. Callers that come together get one answer: being asked often must not cost anything. */
  async parts(): Promise<Parts> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return await this.#asking;
  }

  async #ask(): Promise<Parts> {
    const [database, messages, chain] = await Promise.all([
      this.#state('database'),
      this.#state('messages'),
      this.#state('chain'),
    ]);
    return { database, messages, chain };
  }

  async #state(part: Part): Promise<PartState> {
    let failure: FarmError | null = null;
    const startedMs = performance.now();
    const state = await this.#probe(part).then(
      (answered): PartState =>
        answered
          ? { ok: true, ms: Math.round(performance.now() - startedMs) }
          : { ok: false, reason: `no answer within ${this.#options.limitMs / 1_000} s` },
      (error: unknown): PartState => {
        failure = toFarmError(error);
        // Only the code: messages hold addresses, and the address of a chain is often a key to it.
        return { ok: false, reason: `it cannot be asked (${failure.code})` };
      },
    );
    if (state.ok !== (this.#was.get(part) ?? true)) this.#options.onChange(part, state, failure);
    this.#was.set(part, state.ok);
    return state;
  }

  /** Whether the part answered in time. */
  async #probe(part: Part): Promise<boolean> {
    if (this.#hanging.has(part)) return false;
    const stop = new AbortController();
    const { promise: late, resolve: giveUp } = withResolvers();
    const timer = setTimeout(giveUp, this.#options.limitMs);
    this.#hanging.add(part);
    const answer = this.#options.probes[part](stop.signal).finally(() => this.#hanging.delete(part));
    // Given up, its error is nobody's any more.
    answer.catch(() => undefined);
    try {
      return await Promise.race([answer.then(() => true), late.then(() => false)]);
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
