/**
 * Which statements a server is asked to keep. One that is kept is read and planned once for a connection, not each time, which for a
 * statement of several joins takes longer than running it for one row.
 */
import { createHash } from 'node:crypto';

/** Only what comes again: lists of changing length make new texts for ever. */
const USES_BEFORE_KEPT = 3;
/** Each connection keeps all of them, some tens of kilobytes each. The programs here have fewer than half of it. */
const MAX_KEPT = 300;
/** Texts that are counted: beyond these counting starts anew. */
const MAX_COUNTED = 2_000;

export class PreparedNames {
  readonly #names = new Map<string, string>();
  #uses = new Map<string, number>();

  /** The name under which the server keeps this statement; undefined for one that is not kept (yet). */
  of(text: string, parameters: number): string | undefined {
    // Without parameters it may be several statements, as a migration is, and these cannot be kept.
    if (parameters === 0) return undefined;
    const known = this.#names.get(text);
    if (known !== undefined || this.#names.size >= MAX_KEPT) return known;
    const uses = (this.#uses.get(text) ?? 0) + 1;
    if (uses < USES_BEFORE_KEPT) {
      if (this.#uses.size >= MAX_COUNTED) this.#uses = new Map();
      this.#uses.set(text, uses);
      return undefined;
    }
    this.#uses.delete(text);
    const name = `tessera_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
    this.#names.set(text, name);
    return name;
  }
}

/** Tables grow by orders of magnitude within seconds when a farm begins; the first plans are made anew after this. */
const FIRST_REPLAN_MS = 500;
/** Making the plans of a connection anew takes some 10 ms; so often it does not count, and a plan that turned bad does not last. */
const MAX_REPLAN_MS = 5_000;

/**
 * When a connection's plans are to be made anew. The server does so after an ANALYZE, which a table that grows waits a minute for, and
 * until then a plan that was made when it was empty reads a million rows to find one.
 */
export class Replanning {
  #everyMs = FIRST_REPLAN_MS;
  #nextMs: number;

  constructor(nowMs: number) {
    this.#nextMs = nowMs + FIRST_REPLAN_MS;
  }

  /** Whether it is time; asked whenever the connection is taken into use. */
  due(nowMs: number): boolean {
    if (nowMs < this.#nextMs) return false;
    this.#everyMs = Math.min(MAX_REPLAN_MS, 2 * this.#everyMs);
    this.#nextMs = nowMs + this.#everyMs;
    return true;
  }
}
