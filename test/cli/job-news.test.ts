import { describe, expect, it } from 'vitest';
import { JobNews } from '../../cli/render/job-news.ts';
import type { FarmEvent, LoggedEvent } from '../../protocol/events.ts';
import { jobIdSchema } from '../../protocol/ids.ts';

const never = new AbortController().signal;
/** Longer than any test. */
const FOR_EVER_MS = 2 ** 30;

/** A farm that tells what it is told to, and whose stream can be cut. */
function fakeFarm() {
  const asked: number[] = [];
  const waiting: LoggedEvent[] = [];
  let seq = 0;
  let wake = (): void => undefined;
  let cut = false;
  return {
    asked,
    tell(event: FarmEvent) {
      seq += 1;
      waiting.push({ seq, atMs: 0, jobId: jobIdSchema.parse('job_a'), event });
      wake();
    },
    cut() {
      cut = true;
      wake();
    },
    async *events(seen: number, signal: AbortSignal): AsyncGenerator<LoggedEvent> {
      asked.push(seen);
      signal.addEventListener('abort', () => wake(), { once: true });
      while (!signal.aborted) {
        const next = waiting.shift();
        if (next !== undefined) yield next;
        else if (cut) {
          cut = false;
          throw new Error('the connection broke');
        } else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    },
  };
}
/** Whatever was to follow at once has followed. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
const DONE: FarmEvent = { type: 'frame.done', frame: 1 };

describe('news of a job', () => {
  it('come when something has happened, those in a burst at once', async () => {
    const farm = fakeFarm();
    await using news = new JobNews({
      events: farm.events,
      burstMs: 5,
      quietMs: FOR_EVER_MS,
      blindMs: FOR_EVER_MS,
    });
    farm.tell(DONE);
    farm.tell(DONE);
    await news.next(never);
    let more = false;
    const next = news.next(never).then(() => {
      more = true;
    });
    await turns();
    expect(more).toBe(false);
    farm.tell(DONE);
    await next;
    expect(farm.asked).toEqual([0]);
  });

  it('go on where they stopped when the connection breaks', async () => {
    const farm = fakeFarm();
    await using news = new JobNews({
      events: farm.events,
      burstMs: 1,
      quietMs: FOR_EVER_MS,
      blindMs: FOR_EVER_MS,
    });
    farm.tell(DONE);
    await news.next(never);
    farm.cut();
    farm.tell(DONE);
    await news.next(never);
    await expect.poll(() => farm.asked).toEqual([0, 2]);
    farm.tell(DONE);
    await news.next(never);
  });

  it('are looked for all the same while the farm tells nothing, and while nothing happens', async () => {
    const silent = new JobNews({ events: fakeFarm().events, quietMs: FOR_EVER_MS, blindMs: 1 });
    await silent.next(never);
    await silent[Symbol.asyncDispose]();
    const farm = fakeFarm();
    await using quiet = new JobNews({ events: farm.events, burstMs: 1, quietMs: 1, blindMs: FOR_EVER_MS });
    farm.tell(DONE);
    await quiet.next(never);
    await quiet.next(never);
  });

  it('of a lease are none, and nobody waits who was told to stop', async () => {
    const farm = fakeFarm();
    await using news = new JobNews({
      events: farm.events,
      burstMs: 1,
      quietMs: FOR_EVER_MS,
      blindMs: FOR_EVER_MS,
    });
    const stopping = new AbortController();
    farm.tell({
      type: 'batch.committed',
      batchId: 'batch_a' as never,
      nodeId: 'node-1' as never,
      receipts: 1,
    });
    let told = false;
    const next = news.next(stopping.signal).then(() => {
      told = true;
    });
    await turns();
    expect(told).toBe(false);
    stopping.abort();
    await next;
  });
});
