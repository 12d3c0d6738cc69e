import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { frameDetail, frameViews, jobView } from '../../coordinator/api/views.ts';
import { endHopelessJobs } from '../../coordinator/scheduling/able-nodes.ts';
import { endJob } from '../../coordinator/scheduling/end-job.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { requeueLostLeases } from '../../coordinator/scheduling/lost-leases.ts';
import { applyOutcome } from '../../coordinator/settlement/apply-outcome.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { moveWindows } from '../../coordinator/splitting/move-windows.ts';
import { submitJob } from '../../coordinator/submission/jobs.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { JobRequest } from '../../protocol/job.ts';
import {
  inspection,
  SCENE,
  type TaskRow,
  type TestCoordinator,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { completeTask, completionOf, giveTo } from './delivery.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let farm: TestCoordinator;
const idle = new AbortController().signal;
beforeAll(async () => {
  farm = await testCoordinator();
  const long = inspection({
    frameStart: 1,
    frameEnd: 100_000,
    region: { x: 0, y: 0, width: 64, height: 64 },
  });
  await farm.db
    .updateTable('scenes')
    .set({ inspection: JSON.stringify(long) })
    .execute();
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(async () => {
  await farm.db
    .updateTable('jobs')
    .set({ state: 'cancelled' })
    .where('state', 'in', ['opening', 'active'])
    .execute();
});

const framesTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const now = (): Date => new Date(farm.clock.now());

/** A funded job. */
async function submit(request: Partial<JobRequest>): Promise<JobId> {
  const id = await submitJob(
    farm.context,
    new Scenes(farm.context),
    { scene: SCENE, name: 'a', ...request },
    idle,
  );
  await farm.db.updateTable('jobs').set({ state: 'active', escrow: 'open' }).where('id', '=', id).execute();
  return id;
}

const rowsOf = (id: JobId): Promise<TaskRow[]> =>
  farm.db.selectFrom('tasks').selectAll().where('job_id', '=', id).orderBy('position').execute();

/** Everything delivered so far passes its check. */
async function settle(id: JobId): Promise<void> {
  await closeBatches(farm.db, new Date(farm.clock.now() + 3_600_000), 0);
  const batches = await farm.db
    .selectFrom('batches')
    .selectAll()
    .where('job_id', '=', id)
    .where('state', '=', 'closed')
    .orderBy('seq')
    .execute();
  for (const batch of batches)
    await applyOutcome(farm.context, batch, {
      outcome: 'pass',
      agreed: false,
      slashed: 0n,
      whose: 'node',
    });
}

describe('a job of a million tasks', () => {
  it('is taken in a second, as some hundred rows, and seen whole', async () => {
    // Nine tiles and a finish each, and as many frames as a request may name.
    const request = { frames: framesTo(100_000), tiles: { columns: 3, rows: 3 } };
    const before = process.cpuUsage();
    const id = await submit(request);
    // The database is in this process: what it needs of a processor, however many share the machine.
    const { user, system } = process.cpuUsage(before);
    const acceptedMs = (user + system) / 1_000;
    expect(acceptedMs).toBeLessThan(1_000);
    const rows = await rowsOf(id);
    expect(rows.length).toBeLessThan(300);
    const job = await farm.job(id);
    expect(JSON.stringify(job).length).toBeLessThan(2_000);
    const view = await jobView(farm.context, id);
    expect(view.tasks).toEqual({ total: 1_000_000, queued: 1_000_000, leased: 0, delivered: 0, verified: 0 });
    expect(view.spec.frames).toEqual(request.frames);
    expect(view.quote).toBe(100_000n * rows.slice(0, 10).reduce((sum, { price }) => sum + BigInt(price), 0n));
    const frames = await frameViews(farm.context, id);
    expect(frames.map(({ frame }) => frame)).toEqual(request.frames);
    expect(frames.at(-1)).toMatchObject({
      frame: 100_000,
      state: 'pending',
      tilesTotal: 9,
      tilesVerified: 0,
    });
    expect(await frameDetail(farm.context, id, 99_999)).toMatchObject({ frame: 99_999, files: [] });
    await expect(frameDetail(farm.context, id, 100_001)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    // The first look at a funded job fills its window; nothing is added while enough of it waits.
    expect(await moveWindows(farm.db, now())).toEqual({ begun: true, more: true });
    const window = await rowsOf(id);
    expect(window.length).toBeLessThan(2_500);
    expect(await moveWindows(farm.db, now())).toEqual({ begun: false, more: true });
    expect(await rowsOf(id)).toHaveLength(window.length);
  });

  it('begins nothing more once it was cancelled, and shows nothing as queued', async () => {
    const id = await submit({ frames: framesTo(2_000), tiles: { columns: 2, rows: 1 } });
    const { length } = await rowsOf(id);
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, id, 'cancelled', 'on request'));
    expect(await moveWindows(farm.db, now())).toEqual({ begun: false, more: false });
    expect(await rowsOf(id)).toHaveLength(length);
    expect((await jobView(farm.context, id)).tasks).toEqual({
      ...{ total: 6_000, queued: 0, leased: 0, delivered: 0, verified: 0 },
    });
  });

  it('is hopeless, though no row of it waits, when nobody is left who may take what is to come', async () => {
    await farm.everybodyLeaves();
    const id = await submit({ frames: framesTo(3_000), tiles: { columns: 1, rows: 1 } });
    const cheat = await farm.addNode();
    await farm.db.updateTable('tasks').set({ state: 'dropped' }).where('job_id', '=', id).execute();
    expect(await endHopelessJobs(farm.context)).toBe(0);
    await farm.db
      .insertInto('job_exclusions')
      .values({ job_id: id, node_id: cheat.id, reason: 'cheated' })
      .execute();
    expect(await endHopelessJobs(farm.context)).toBe(1);
  });

  it('is not over, and its batches stay open, while frames have not begun', async () => {
    const id = await submit({ frames: framesTo(300), tiles: { columns: 1, rows: 1 } });
    const node = await farm.addNode();
    const [first] = await rowsOf(id);
    await farm.db
      .updateTable('tasks')
      .set({ state: 'dropped' })
      .where('job_id', '=', id)
      .where('id', '<>', first?.id as never)
      .execute();
    const leased = await giveTo(farm, node, first as TaskRow);
    expect(
      (await completeTask(farm.context, node.id, await completionOf(farm, node, leased))).moved,
    ).toBeNull();
    expect(await closeBatches(farm.db, now(), 60_000)).toBe(0);
    await settle(id);
    expect(await farm.job(id)).toMatchObject({ state: 'active', frames_done: 1, tasks_verified: 1 });
    expect(await moveWindows(farm.db, now())).toEqual({ begun: true, more: true });
    expect(await moveWindows(farm.db, now())).toEqual({ begun: false, more: false });
    // Of a job that has all its rows they close as ever.
    const rest = (await rowsOf(id)).filter(({ state }) => state === 'queued');
    expect(rest).toHaveLength(44);
  });
});

describe('a window', () => {
  type Step = 'lease' | 'complete' | 'fail' | 'lose' | 'move' | 'move-twice' | 'settle';
  const steps = fc.array(
    fc.constantFrom<Step>(
      'lease',
      'lease',
      'complete',
      'complete',
      'fail',
      'lose',
      'move',
      'move-twice',
      'settle',
    ),
    { minLength: 10, maxLength: 40 },
  );

  async function play(
    nodes: readonly TestNode[],
    id: JobId,
    window: number,
    plan: readonly Step[],
  ): Promise<void> {
    const leases: { node: TestNode; task: TaskRow }[] = [];
    let turn = 0;
    const nextNode = (): TestNode => nodes[turn++ % nodes.length] as TestNode;
    for (const step of plan) {
      switch (step) {
        case 'lease': {
          const queued = (await rowsOf(id)).find(({ state }) => state === 'queued');
          const node = nextNode();
          if (queued !== undefined) leases.push({ node, task: await giveTo(farm, node, queued) });
          break;
        }
        case 'complete': {
          const lease = leases.shift();
          if (lease === undefined) break;
          const completion = await completionOf(farm, lease.node, lease.task);
          await completeTask(farm.context, lease.node.id, completion).catch(() => undefined);
          break;
        }
        case 'fail': {
          const lease = leases.pop();
          if (lease === undefined) break;
          const { id: taskId, token } = lease.task;
          const message = {
            taskId,
            token,
            failureClass: 'infrastructure' as const,
            code: 'X',
            message: 'it broke',
          };
          await failTask(farm.context, lease.node.id, message).catch(() => undefined);
          break;
        }
        case 'lose':
          farm.clock.advance(farm.context.config.leaseMs + 1);
          await requeueLostLeases(farm.context);
          // What is lost again and again is given up; that is not what this is about.
          await farm.db.updateTable('tasks').set({ losses: 0 }).where('job_id', '=', id).execute();
          leases.length = 0;
          break;
        case 'move':
          await moveWindows(farm.db, now(), window);
          break;
        case 'move-twice':
          // As two coordinators would, and as one that was started again in the middle.
          await Promise.all([moveWindows(farm.db, now(), window), moveWindows(farm.db, now(), window)]);
          break;
        case 'settle':
          await settle(id);
          break;
        default:
          throw new Error(step satisfies never);
      }
    }
  }

  it('gives the grid once, in order, for any window and any interleaving, and the job ends when all is done', async () => {
    const nodes = [await farm.addNode(), await farm.addNode(), await farm.addNode()];
    const cases = fc.record({
      frames: fc.integer({ min: 1, max: 4 }),
      columns: fc.integer({ min: 1, max: 2 }),
      previewFirst: fc.boolean(),
      window: fc.integer({ min: 1, max: 6 }),
      plan: steps,
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ frames, columns, previewFirst, window, plan }) => {
        const id = await submit({ frames: framesTo(frames), tiles: { columns, rows: 1 }, previewFirst });
        // As if only a window of it had been written down when it was submitted.
        await farm.db.deleteFrom('tasks').where('job_id', '=', id).execute();
        await farm.db.deleteFrom('frames').where('job_id', '=', id).execute();
        await farm.db.updateTable('jobs').set({ frames_begun: 0 }).where('id', '=', id).execute();
        await play(nodes, id, window, plan);
        const { tasks_total: total } = await farm.job(id);
        for (let left = 0; left <= total && (await farm.job(id)).state === 'active'; left++)
          await play(nodes, id, window, ['move', 'lose', 'lease', 'complete', 'lease', 'complete', 'settle']);
        const rows = await rowsOf(id);
        expect(rows.map(({ position }) => position)).toEqual(rows.map((_, position) => position));
        expect(rows).toHaveLength(total);
        const names = rows.map(({ frame, kind, tile }) => `${frame} ${kind} ${tile}`);
        expect(new Set(names).size).toBe(total);
        const job = await farm.job(id);
        expect(job).toMatchObject({
          state: 'completed',
          frames_done: frames,
          tasks_verified: total,
          spent: job.quote,
        });
        expect((await jobView(farm.context, id)).tasks).toEqual({
          ...{ total, queued: 0, leased: 0, delivered: 0, verified: total },
        });
      }),
      { numRuns: 12 },
    );
  });
});
