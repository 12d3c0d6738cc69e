/** What happened, in order, kept: the source of everything that is live. */
import { EventEmitter } from 'node:events';
import { sql } from 'kysely';
import { pause } from '../platform/wait.ts';
import type { FarmEvent, LoggedEvent } from '../protocol/events.ts';
import type { JobId } from '../protocol/ids.ts';
import type { FarmDb, FarmQuery } from './database/schema.ts';
import { settledUpTo, writerHeld } from './event-order.ts';

/** On a server there is news when a transaction is over, of this coordinator or another: asked so often while somebody listens. */
const LOOK_MS = 100;

export class EventLog {
  readonly #db: FarmDb;
  readonly #news = new EventEmitter().setMaxListeners(0);
  readonly #onAdded: (jobId: JobId, events: readonly FarmEvent[]) => void;
  readonly #shared: boolean;
  #looking: AbortController | undefined;

  /**
   * `onAdded` is told of every event as it is written. `shared`: on a server, where several transactions write at the same
   * time; an embedded database has one connection, and who reads waits for who writes.
   */
  constructor(
    db: FarmDb,
    onAdded: (jobId: JobId, events: readonly FarmEvent[]) => void = () => undefined,
    { shared = false } = {},
  ) {
    this.#db = db;
    this.#onAdded = onAdded;
    this.#shared = shared;
  }

  /** Adds an event in the same transaction as the change it tells of: readers see it once that is committed. */
  async add(query: FarmQuery, jobId: JobId, event: FarmEvent, now: Date): Promise<void> {
    await this.addAll(query, jobId, [event], now);
  }

  /** In this order; none is nothing. */
  async addAll(query: FarmQuery, jobId: JobId, events: readonly FarmEvent[], now: Date): Promise<void> {
    await this.addMany(
      query,
      events.map((event) => ({ jobId, event })),
      now,
    );
  }

  /** Of several jobs, in this order. */
  async addMany(
    query: FarmQuery,
    events: readonly { jobId: JobId; event: FarmEvent }[],
    now: Date,
  ): Promise<void> {
    if (events.length === 0) return;
    // One parameter however many there are: a statement with a thousand takes longer to read than to run.
    const held = this.#shared ? sql`cross join ${writerHeld} as held` : sql``;
    await sql`
      insert into events (job_id, at, event)
      select e.entry->>'jobId', ${now}::timestamptz, e.entry->'event'
      from jsonb_array_elements(${JSON.stringify(events)}::jsonb) with ordinality as e(entry, place) ${held}
      order by place`.execute(query);
    for (const [jobId, some] of byJob(events)) this.#onAdded(jobId, some);
    // On a server nobody could see them yet; there the next look does.
    if (!this.#shared) this.#news.emit('news');
  }

  async after(jobId: JobId, seq: number, limit: number): Promise<LoggedEvent[]> {
    const settled = this.#shared ? await settledUpTo(this.#db) : Number.MAX_SAFE_INTEGER;
    const rows = await this.#db
      .selectFrom('events')
      .selectAll()
      .where('job_id', '=', jobId)
      .where('seq', '>', String(seq))
      .where('seq', '<=', String(settled))
      .orderBy('seq')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      seq: Number(row.seq),
      atMs: row.at.getTime(),
      jobId: row.job_id,
      event: row.event,
    }));
  }

  /** Calls `listener` whenever there may be news; returns how to stop that. */
  onNews(listener: () => void): () => void {
    this.#news.on('news', listener);
    if (this.#shared && this.#looking === undefined) {
      this.#looking = new AbortController();
      void this.#look(this.#looking.signal);
    }
    return () => {
      this.#news.off('news', listener);
      if (this.#news.listenerCount('news') > 0) return;
      this.#looking?.abort();
      this.#looking = undefined;
    };
  }

  async #look(signal: AbortSignal): Promise<void> {
    let seen = -1;
    while (!signal.aborted) {
      // A server that is away for a moment has no news; whoever waits is told when it is back.
      const settled = await settledUpTo(this.#db).catch(() => seen);
      if (settled !== seen) this.#news.emit('news');
      seen = settled;
      await pause(LOOK_MS, signal);
    }
  }
}

function byJob(events: readonly { jobId: JobId; event: FarmEvent }[]): Map<JobId, FarmEvent[]> {
  const jobs = new Map<JobId, FarmEvent[]>();
  for (const { jobId, event } of events) {
    const of = jobs.get(jobId);
    if (of === undefined) jobs.set(jobId, [event]);
    else of.push(event);
  }
  return jobs;
}
