/** What has to be looked at again and again: leases that run out, publication, batches that can be closed. */
import { pause } from '../platform/wait.ts';
import type { JobId } from '../protocol/ids.ts';
import type { CoordinatorContext } from './context.ts';
import { clearAway } from './database/clear-away.ts';
import { endHopelessJobs } from './scheduling/able-nodes.ts';
import { releaseBlocked } from './scheduling/blocks.ts';
import { requeueLostLeases } from './scheduling/lost-leases.ts';
import { foldNodeTime } from './scheduling/node-time.ts';
import { publishQueued, republishLost } from './scheduling/publish-queued.ts';
import { closeBatches } from './settlement/open-batch.ts';
import { moveWindows } from './splitting/move-windows.ts';

/** How often time alone can change something: leases that run out, batches that grow old. */
const LOOK_MS = 500;

/** How often it is asked which jobs nobody can do any more; these are given minutes before. */
const HOPELESS_CHECK_MS = 5_000;

/** How often the list is compared with what was published. */
const REPUBLISH_CHECK_MS = 10_000;

/** Results come by the hundred: which batches can grow no further is asked about all of them, and not after each. */
const CLOSE_EVERY_MS = 100;

/** Looking at every job for what can be published costs the same for one task as for a hundred, and the list is long enough for this. */
const PUBLISH_EVERY_MS = 50;

/** How often it is asked whose window is half empty, which counts rows; at 2,000 tasks a second a whole half lasts twice as long. */
const MOVE_EVERY_MS = 200;

/** Tasks that are delivered between two clearings of an embedded database: each leaves some old versions of its row. */
const CLEAR_EVERY_TASKS = 20_000;

type Others = {
  /** Tasks were published, or came back. */
  onTasks: () => void;
  /** Batches were closed, or jobs ended. */
  onMoney: () => void;
};

export class Housekeeping {
  readonly #context: CoordinatorContext;
  readonly #others: Others;
  #everything = true;
  #tasks = true;
  /** Jobs of which others of their tasks can be published; null: it may be any. */
  #short: Set<JobId> | null = null;
  #left = false;
  #batches = true;
  #nudge: (() => void) | undefined;
  #checkedMs: number;
  #deliveredTasks = 0;
  #closedMs = Number.NEGATIVE_INFINITY;
  #publishedMs = Number.NEGATIVE_INFINITY;
  #movedMs = Number.NEGATIVE_INFINITY;
  /** Whether frames of some job are no rows yet. */
  #more = true;

  constructor(context: CoordinatorContext, others: Others) {
    this.#context = context;
    this.#others = others;
    this.#checkedMs = context.clock.now();
  }

  /** Something changed that tasks may wait for. */
  wake(): void {
    this.#everything = true;
    this.delivered();
  }

  /** Tasks were delivered: their batch may be full now, and nothing else has changed. */
  delivered(tasks = 0): void {
    this.#deliveredTasks += tasks;
    this.#batches = true;
    this.#nudge?.();
  }

  /** Tasks were taken (null: of some jobs): there may be room on the list for those of them that are left. */
  taken(jobs: ReadonlySet<JobId> | null = null): void {
    if (!this.#left) return;
    if (jobs === null) this.#short = null;
    else if (!this.#tasks) this.#short = new Set(jobs);
    else for (const job of jobs) this.#short?.add(job);
    this.#tasks = true;
    this.#nudge?.();
  }

  async run(signal: AbortSignal): Promise<void> {
    let timedMs = Number.NEGATIVE_INFINITY;
    let hopelessMs = Number.NEGATIVE_INFINITY;
    let rested = true;
    while (!signal.aborted) {
      const now = this.#context.clock.now();
      // Also after the clock was set back.
      const timed = Math.abs(now - timedMs) >= LOOK_MS;
      if (timed) timedMs = now;
      const hopeless = this.#everything || Math.abs(now - hopelessMs) >= HOPELESS_CHECK_MS;
      if (hopeless) hopelessMs = now;
      const everything = this.#everything || timed;
      const tasks = everything || this.#tasks;
      const batches = everything || (this.#batches && rested);
      this.#everything = false;
      this.#tasks = false;
      const short = this.#short;
      this.#short = null;
      try {
        if (timed) await this.#whatTimeBrings();
        if (hopeless && (await endHopelessJobs(this.#context)) > 0) this.#others.onMoney();
        if (tasks) await this.#publish(everything, short);
        if (batches) await this.#closeBatches(timed);
      } catch (error) {
        if (signal.aborted) return;
        this.#context.log.warn({ err: error }, 'housekeeping could not go on; trying again');
      }
      rested = await this.#sleep(signal);
    }
  }

  async #publish(everything: boolean, short: ReadonlySet<JobId> | null): Promise<void> {
    const { db, queue, clock } = this.#context;
    const now = clock.now();
    this.#publishedMs = now;
    let moved = false;
    if (everything || Math.abs(now - this.#movedMs) >= MOVE_EVERY_MS) {
      this.#movedMs = now;
      const { begun, more } = await moveWindows(db, new Date(now));
      this.#more = more;
      moved = begun;
    }
    const jobs = everything || moved ? null : short;
    const { published, left } = await publishQueued(db, queue, jobs);
    // Of the others it is not known.
    this.#left = left || this.#more || (jobs !== null && this.#left);
    if (published > 0) this.#others.onTasks();
  }

  async #whatTimeBrings(): Promise<void> {
    const { db, queue, clock, log, metrics } = this.#context;
    const lost = await requeueLostLeases(this.#context);
    metrics.leasesLost.inc(lost);
    const released = await releaseBlocked(this.#context);
    if (lost + released > 0) this.#others.onTasks();
    await foldNodeTime(db);
    if (this.#context.ownDatabase && this.#deliveredTasks >= CLEAR_EVERY_TASKS) {
      this.#deliveredTasks = 0;
      await clearAway(db);
    }
    if (Math.abs(clock.now() - this.#checkedMs) <= REPUBLISH_CHECK_MS) return;
    this.#checkedMs = clock.now();
    if (await republishLost(db, queue)) log.warn('the to-do list had lost tasks; they are published again');
  }

  async #closeBatches(timed: boolean): Promise<void> {
    const { db, clock, config } = this.#context;
    this.#closedMs = clock.now();
    this.#batches = false;
    // Only time makes them old; what is full was closed by who filled it.
    const maxAgeMs = timed ? config.batchMaxAgeMs : null;
    if ((await closeBatches(db, new Date(clock.now()), maxAgeMs)) > 0) this.#others.onMoney();
  }

  /** Whether batches may be closed again, which only tasks do not wait for. */
  async #sleep(signal: AbortSignal): Promise<boolean> {
    if (!this.#batches) await this.#pause(LOOK_MS, signal, () => this.#tasks || this.#batches);
    const restMs = CLOSE_EVERY_MS - Math.abs(this.#context.clock.now() - this.#closedMs);
    await this.#pause(restMs, signal, () => this.#tasks);
    if (this.#tasks) {
      const untilMs = PUBLISH_EVERY_MS - Math.abs(this.#context.clock.now() - this.#publishedMs);
      await this.#pause(untilMs, signal, () => false);
    }
    return restMs <= 0 || !this.#tasks;
  }

  /** Ends early where everything is to be looked at, or `also` holds. */
  async #pause(durationMs: number, signal: AbortSignal, also: () => boolean): Promise<void> {
    if (durationMs <= 0 || this.#everything || also()) return;
    const ending = new AbortController();
    this.#nudge = () => {
      if (this.#everything || also()) ending.abort();
    };
    await pause(durationMs, AbortSignal.any([signal, ending.signal]));
    this.#nudge = undefined;
  }
}
