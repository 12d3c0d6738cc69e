import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { clearAway } from '../../coordinator/database/clear-away.ts';
import { type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

test('clearing away counts the rows, and gives the room of old versions to new ones', async () => {
  const { id } = await farm.addJob({ tilesPerFrame: 500 });
  const changeAll = async (): Promise<number> => {
    for (let change = 0; change < 5; change++) {
      // A column of an index, so that no new version can take the place of an old one by itself.
      await sql`update tasks set position = position + 1000 where job_id = ${id}`.execute(farm.db);
    }
    const { rows } = await sql<{ bytes: number }>`
      select pg_total_relation_size('tasks')::int as bytes`.execute(farm.db);
    return rows[0]?.bytes ?? 0;
  };
  const rowsCounted = async (): Promise<number> => {
    const { rows } = await sql<{ count: number }>`
      select reltuples::int as count from pg_class where relname = 'tasks'`.execute(farm.db);
    return rows[0]?.count ?? 0;
  };
  expect(await rowsCounted()).toBeLessThan(501);
  const first = await changeAll();
  await clearAway(farm.db);
  expect(await rowsCounted()).toBe(501);
  // Each time there would be five more versions of every row, as many as there are after the first time.
  for (let time = 0; time < 3; time++) {
    expect(await changeAll()).toBeLessThan(1.5 * first);
    await clearAway(farm.db);
  }
});
