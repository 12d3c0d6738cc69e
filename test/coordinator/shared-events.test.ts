/** Events of several coordinators on one Postgres server, as somebody who follows a job hears them. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { FarmTables } from '../../coordinator/database/schema.ts';
import { EventLog } from '../../coordinator/event-log.ts';
import { type OpenDatabase, openDatabase } from '../../platform/database/open.ts';
import type { FarmEvent } from '../../protocol/events.ts';
import type { JobId } from '../../protocol/ids.ts';
import { MIGRATIONS, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

let postgres: PostgresServer;
let farm: TestCoordinator;
let other: OpenDatabase<FarmTables>;
let logs: [EventLog, EventLog];
const nobody = (): void => undefined;
const now = new Date();

beforeAll(async () => {
  postgres = await startPostgres();
  const url = await postgres.createDatabase();
  farm = await testCoordinator({ url });
  other = await openDatabase<FarmTables>({ url }, MIGRATIONS);
  logs = [
    new EventLog(farm.context.db, nobody, { shared: true }),
    new EventLog(other.db, nobody, { shared: true }),
  ];
});
afterAll(async () => {
  await other[Symbol.asyncDispose]();
  await farm[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const frame = (number: number): FarmEvent => ({ type: 'frame.done', frame: number });

/** Frames of this job in the order in which `log` tells of them, read whenever it says that there is news, until `last`. */
function framesUntil(log: EventLog, id: JobId, last: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const frames: number[] = [];
    let seq = 0;
    let reading = Promise.resolve();
    const read = async (): Promise<void> => {
      for (const logged of await log.after(id, seq, 500)) {
        seq = logged.seq;
        if (logged.event.type === 'frame.done') frames.push(logged.event.frame);
      }
      if (frames.at(-1) !== last) return;
      stop();
      resolve(frames);
    };
    const stop = log.onNews(() => {
      reading = reading.then(read).catch(reject);
    });
  });
}

describe('events on a shared server', () => {
  it('are heard of when their transaction is over, from another coordinator too', async () => {
    const { id } = await farm.addJob({ tilesPerFrame: 1 });
    const heard = logs.map((log) => framesUntil(log, id, 1));
    await farm.context.db.transaction().execute(async (tx) => {
      await logs[0].add(tx, id, frame(1), now);
      // So long that whoever is woken by the writing alone has looked and found nothing.
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(await logs[1].after(id, 0, 10)).toEqual([]);
    });
    expect(await Promise.all(heard)).toEqual([[1], [1]]);
  });

  it('come in the order of their numbers, though a later one is committed first', async () => {
    const { id } = await farm.addJob({ tilesPerFrame: 1 });
    const heard = framesUntil(logs[1], id, 2);
    await farm.context.db.transaction().execute(async (tx) => {
      await logs[0].add(tx, id, frame(1), now);
      await logs[1].add(other.db, id, frame(2), now);
      // It is committed, and held back all the same: else the first would never be told.
      expect(await logs[1].after(id, 0, 10)).toEqual([]);
    });
    expect(await heard).toEqual([1, 2]);
  });

  it('are not held back by one that was given up', async () => {
    const { id } = await farm.addJob({ tilesPerFrame: 1 });
    const giveUp = farm.context.db.transaction().execute(async (tx) => {
      await logs[0].add(tx, id, frame(1), now);
      throw new Error('given up');
    });
    await expect(giveUp).rejects.toThrow('given up');
    await logs[1].add(other.db, id, frame(2), now);
    expect(await framesUntil(logs[0], id, 2)).toEqual([2]);
  });

  it('are each told once, in order, while many are written at the same time', async () => {
    const { id } = await farm.addJob({ tilesPerFrame: 1 });
    const heard = framesUntil(logs[0], id, 1_000);
    const write = async (db: typeof other.db, log: EventLog, from: number): Promise<void> => {
      for (let number = from; number < from + 50; number++)
        await db.transaction().execute(async (tx) => {
          await log.add(tx, id, frame(number), now);
          if (number % 3 === 0) await log.add(tx, id, frame(number + 500), now);
        });
    };
    await Promise.all([
      ...[0, 50, 100].map((from) => write(farm.context.db, logs[0], from)),
      ...[150, 200, 250].map((from) => write(other.db, logs[1], from)),
    ]);
    await logs[1].add(other.db, id, frame(1_000), now);
    const frames = await heard;
    const stored = await logs[1].after(id, 0, 1_000);
    expect(frames).toEqual(
      stored.map(({ event }) => (event.type === 'frame.done' ? event.frame : Number.NaN)),
    );
    expect(frames).toHaveLength(401);
    expect(new Set(frames).size).toBe(401);
  });
});
