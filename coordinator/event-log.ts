/** What happened, in order, kept: the source of everything that is live. */
import { EventEmitter } from 'node:events';
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
    if (events.length === 0) return;
    await query
      .insertInto('events')
      .values(events.map((event) => ({ job_id: jobId, at: now, event: JSON.stringify(event) })))
      .execute();
    this.#onAdded(jobId, events);
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
