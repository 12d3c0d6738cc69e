/** Tiled frames are finished while their tiles are checked; nothing of it is committed before these have passed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitsForTiles } from '../../coordinator/assembly/early-finish.ts';
import { endJob } from '../../coordinator/scheduling/end-job.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { applyOutcome } from '../../coordinator/settlement/apply-outcome.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import type { JobId, TaskId } from '../../protocol/ids.ts';
import { type TaskRow, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { completeTask, completionOf, deliver, ended, leaseTo } from './delivery.ts';

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

const close = (): Promise<number> => closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
const stateOf = async (task: { id: TaskId } | undefined) => (await farm.task(task?.id as TaskId)).state;
const waiting = async (job: JobId) =>
  (
    await farm.db
      .selectFrom('batches')
      .select('kind')
      .where('job_id', '=', job)
      .where(waitsForTiles)
      .execute()
  ).map((row) => row.kind);

/** Two frames of two tiles each: `cheat` has rendered the second tile of frame 1, `honest` all else. */
async function twoNodes() {
  const [honest, cheat] = [await farm.addNode(), await farm.addNode()];
  const job = await farm.addJob({ frames: [1, 2], tilesPerFrame: 2 });
  const [one0, one1, two0, two1] = job.tiles as [TaskRow, TaskRow, TaskRow, TaskRow];
  await deliver(farm, honest, [one0, two0, two1]);
  const good = await farm.batchOf(job.id);
  return { honest, cheat, job, bad: one1, good, finishes: job.finishes as [TaskRow, TaskRow] };
}

describe('the finish task of a tiled frame', { timeout: 300_000 }, () => {
  it('is queued with the last delivered tile of its frame, and others are told', async () => {
    const { cheat, job, bad, finishes } = await twoNodes();
    expect([await stateOf(finishes[0]), await stateOf(finishes[1])]).toEqual(['waiting', 'queued']);
    const leased = await leaseTo(farm, cheat, bad);
    const reply = await completeTask(farm.context, cheat.id, await completionOf(farm, cheat, leased));
    expect(reply).toEqual({ moved: null, lost: [], queued: true });
    expect(await farm.task(finishes[0].id)).toMatchObject({ state: 'queued', published: false });
    expect(await farm.frame(job.id, 1)).toMatchObject({ tiles_delivered: 2, tiles_verified: 0 });
  });

  it('is shown at once, and its batch is not committed before every tile has passed', async () => {
    const { honest, cheat, job, bad, good, finishes } = await twoNodes();
    await deliver(farm, cheat, [bad]);
    const ofCheat = await farm.batchOf(job.id);
    await deliver(farm, honest, finishes);
    expect(await farm.frame(job.id, 1)).toMatchObject({ state: 'unverified' });
    await close();
    expect((await farm.batchOf(job.id)).state).toBe('closed');
    expect(await waiting(job.id)).toEqual(['finish']);
    await applyOutcome(farm.context, good, ended('pass'));
    expect(await waiting(job.id)).toEqual(['finish']);
    await applyOutcome(farm.context, ofCheat, ended('pass'));
    expect(await waiting(job.id)).toEqual([]);
  });

  it('is taken back with all of its batch when a tile fails, and what has its tiles is finished again', async () => {
    const { honest, cheat, job, bad, finishes } = await twoNodes();
    await deliver(farm, cheat, [bad]);
    const ofCheat = await farm.batchOf(job.id);
    await deliver(farm, honest, finishes);
    const finished = await farm.batchOf(job.id);
    await close();
    await applyOutcome(farm.context, ofCheat, ended('fail'));
    expect(await farm.frame(job.id, 1)).toMatchObject({
      state: 'pending',
      picture: null,
      tiles_delivered: 1,
    });
    expect([await stateOf(finishes[0]), await stateOf(finishes[1])]).toEqual(['waiting', 'queued']);
    expect(await farm.task(finishes[0].id)).toMatchObject({ receipt: null, leaf: null, batch_id: null });
    expect(
      await farm.db.selectFrom('batches').selectAll().where('id', '=', finished.id).executeTakeFirst(),
    ).toMatchObject({ state: 'settled', receipts: 0, amount: '0', root: null, outcome: null });
    // The honest node renders the tile, and everything goes on.
    await deliver(farm, honest, [bad, ...finishes]);
    expect(await farm.frame(job.id, 1)).toMatchObject({ state: 'unverified', tiles_delivered: 2 });
    expect((await farm.batchOf(job.id)).id).not.toBe(finished.id);
  });

  it('is taken from the node that is at it when a tile fails', async () => {
    const { honest, cheat, job, bad, finishes } = await twoNodes();
    await deliver(farm, cheat, [bad]);
    const ofCheat = await farm.batchOf(job.id);
    const leased = await leaseTo(farm, honest, finishes[0]);
    await applyOutcome(farm.context, ofCheat, ended('fail'));
    expect(await stateOf(finishes[0])).toBe('waiting');
    await expect(
      completeTask(farm.context, honest.id, await completionOf(farm, honest, leased)),
    ).rejects.toMatchObject({ code: 'LEASE_LOST' });
  });

  it('that fails while a tile is unchecked is put aside for the verdict, and counts against nobody', async () => {
    const { honest, cheat, job, bad, good, finishes } = await twoNodes();
    await deliver(farm, cheat, [bad]);
    const ofCheat = await farm.batchOf(job.id);
    const fail = async () => {
      const { id: taskId, token } = await leaseTo(farm, honest, finishes[0]);
      const report = { failureClass: 'node', code: 'RENDER_FAILED', message: 'tile-1.exr: broken' } as const;
      await failTask(farm.context, honest.id, { taskId, token, ...report });
    };
    const failures = () =>
      farm.db.selectFrom('task_failures').selectAll().where('task_id', '=', finishes[0].id).execute();
    await fail();
    expect(await stateOf(finishes[0])).toBe('waiting');
    expect(await failures()).toEqual([]);
    expect((await farm.eventsOf(job.id)).at(-1)).toMatchObject({
      type: 'task.requeued',
      kind: 'finish',
      reason: 'put aside until its tiles are checked: tile-1.exr: broken',
    });
    await applyOutcome(farm.context, good, ended('pass'));
    await applyOutcome(farm.context, ofCheat, ended('pass'));
    expect(await stateOf(finishes[0])).toBe('queued');
    // Now it is nobody's tile any more.
    await fail();
    expect(await failures()).toHaveLength(1);
  });

  it('of a cancelled job is dropped with its tile, and nothing is left to wait for', async () => {
    const { honest, cheat, job, bad, finishes } = await twoNodes();
    await deliver(farm, cheat, [bad]);
    const ofCheat = await farm.batchOf(job.id);
    await deliver(farm, honest, [finishes[0]]);
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, job.id, 'cancelled', null));
    await close();
    await applyOutcome(farm.context, ofCheat, ended('fail'));
    expect([await stateOf(finishes[0]), await stateOf(finishes[1])]).toEqual(['dropped', 'dropped']);
    expect(await waiting(job.id)).toEqual([]);
  });
});
