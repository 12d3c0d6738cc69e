/** What happened, in order, kept: the source of everything that is live. */
import { EventEmitter } from 'node:events';
import { sql } from 'kysely';
import type { FarmEvent, LoggedEvent } from '../protocol/events.ts';
import type { JobId } from '../protocol/ids.ts';
import type { FarmDb, FarmQuery } from './database/schema.ts';

export class EventLog {
  readonly #db: FarmDb;
  readonly #news = new EventEmitter().setMaxListeners(0);

  readonly #onAdded: (jobId: JobId, events: readonly FarmEvent[]) => void;

  /** `onAdded` is told of every event as it is written. */
  constructor(db: FarmDb, onAdded: (jobId: JobId, events: readonly FarmEvent[]) => void = () => undefined) {
    this.#db = db;
    this.#onAdded = onAdded;
  }

  /**
   * Adds an event in the same transaction as the change it tells of. Readers are woken right away; they read through
   * the same database and so see the event only once it is committed.
   */
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
    await sql`
      insert into events (job_id, at, event)
      select e.entry->>'jobId', ${now}::timestamptz, e.entry->'event'
      from jsonb_array_elements(${JSON.stringify(events)}::jsonb) with ordinality as e(entry, place)
      order by place`.execute(query);
    for (const [jobId, some] of byJob(events)) this.#onAdded(jobId, some);
    this.#news.emit('news');
  }

  async after(jobId: JobId, seq: number, limit: number): Promise<LoggedEvent[]> {
    const rows = await this.#db
      .selectFrom('events')
      .selectAll()
      .where('job_id', '=', jobId)
      .where('seq', '>', String(seq))
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
    return () => this.#news.off('news', listener);
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
