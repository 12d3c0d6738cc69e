import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { endHopelessJobs } from '../../coordinator/scheduling/able-nodes.ts';
import type { JobId } from '../../protocol/ids.ts';
import {
  type TaskRow,
  type TestCoordinator,
  type TestJob,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { deliver, leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

const HOPE_MS = 10 * 60_000;

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
// Jobs are hopeless for all nodes of the farm, so each test has nodes and jobs to itself.
beforeEach(async () => {
  await farm.everybodyLeaves();
  // Those that have ended stay as they are: the database refuses that a failed job is cancelled.
  await farm.db
    .updateTable('jobs')
    .set({ state: 'cancelled' })
    .where('state', 'in', ['opening', 'active'])
    .execute();
});

const exclude = (job: TestJob, node: TestNode): Promise<unknown> =>
  farm.db
    .insertInto('job_exclusions')
    .values({ job_id: job.id, node_id: node.id, reason: 'cheated' })
    .execute();

const stateOf = async (id: JobId): Promise<string> => (await farm.job(id)).state;

describe('a job that every node is excluded from', () => {
  it('is ended, its tasks are dropped, and it is told why, once', async () => {
    const [one, two] = [await farm.addNode(), await farm.addNode()];
    const job = await farm.addJob();
    await exclude(job, one);
    await exclude(job, two);
    expect(await endHopelessJobs(farm.context)).toBe(1);
    const reason =
      'no node that may render it was seen for ten minutes; every other failed a check of this job';
    expect(await farm.job(job.id)).toMatchObject({ state: 'failed', reason });
    for (const task of [...job.tiles, ...job.finishes])
      expect((await farm.task(task.id)).state).toBe('dropped');
    expect(await endHopelessJobs(farm.context)).toBe(0);
    expect(await farm.eventsOf(job.id)).toEqual([{ type: 'job.failed', reason }]);
  });

  it('is ended though another node is there that has another engine', async () => {
    const cheat = await farm.addNode();
    await farm.addNode({ engine: 'blender-4.3.2' });
    const job = await farm.addJob();
    await exclude(job, cheat);
    expect(await endHopelessJobs(farm.context)).toBe(1);
    expect(await stateOf(job.id)).toBe('failed');
  });

  it('waits for a node that was there in the last ten minutes, and not longer', async () => {
    const [cheat] = [await farm.addNode(), await farm.addNode()];
    const job = await farm.addJob();
    await exclude(job, cheat);
    farm.clock.advance(HOPE_MS - 1);
    expect(await endHopelessJobs(farm.context)).toBe(0);
    expect(await stateOf(job.id)).toBe('active');
    farm.clock.advance(1);
    expect(await endHopelessJobs(farm.context)).toBe(1);
    expect(await stateOf(job.id)).toBe('failed');
  });

  it('goes on while one of its tasks is with a node', async () => {
    const [cheat, honest] = [await farm.addNode(), await farm.addNode()];
    const job = await farm.addJob();
    await leaseTo(farm, honest, job.tiles[0] as TaskRow);
    await exclude(job, cheat);
    await farm.everybodyLeaves();
    expect(await endHopelessJobs(farm.context)).toBe(0);
    expect(await stateOf(job.id)).toBe('active');
  });

  it('goes on when nothing of it is left to be handed out', async () => {
    const [cheat, honest] = [await farm.addNode(), await farm.addNode()];
    const job = await farm.addJob();
    await deliver(farm, honest, [...job.tiles, ...job.finishes]);
    await exclude(job, cheat);
    await farm.everybodyLeaves();
    expect(await endHopelessJobs(farm.context)).toBe(0);
    expect(await stateOf(job.id)).toBe('active');
  });

  it('says nothing of other jobs, nor of a farm where no node has failed anything', async () => {
    const cheat = await farm.addNode();
    const [hopeless, untouched] = [await farm.addJob(), await farm.addJob()];
    await exclude(hopeless, cheat);
    await farm.everybodyLeaves();
    expect(await endHopelessJobs(farm.context)).toBe(1);
    expect([await stateOf(hopeless.id), await stateOf(untouched.id)]).toEqual(['failed', 'active']);
  });
});

describe.each(['opening', 'active'] as const)('a job that is %s', (state) => {
  it('is ended once its deadline has passed, whoever is there', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob({ state });
    const { deadline_at: deadline } = await farm.job(job.id);
    farm.clock.advance(deadline.getTime() - farm.clock.now());
    await farm.db.updateTable('nodes').set({ last_seen_at: deadline }).where('id', '=', node.id).execute();
    expect(await endHopelessJobs(farm.context)).toBe(0);
    farm.clock.advance(1);
    expect(await endHopelessJobs(farm.context)).toBe(1);
    expect(await farm.job(job.id)).toMatchObject({ state: 'failed', reason: 'its deadline has passed' });
  });

  it('is ended when it was planned for another Blender than the farm has', async () => {
    await farm.addNode({ engine: 'blender-4.3.2' });
    const [old, current] = [
      await farm.addJob({ state, engine: 'blender-4.3.2' }),
      await farm.addJob({ state }),
    ];
    expect(await endHopelessJobs(farm.context)).toBe(1);
    expect(await farm.job(old.id)).toMatchObject({
      state: 'failed',
      reason: `it was planned for another Blender than this farm has now (${farm.context.runtime.engine.id})`,
    });
    expect(await stateOf(current.id)).toBe(state);
  });
});
