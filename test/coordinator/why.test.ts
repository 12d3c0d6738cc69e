import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { changeAccount, setPools } from '../../coordinator/api/sharing.ts';
import { whyView } from '../../coordinator/api/why-view.ts';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { publishQueued } from '../../coordinator/scheduling/publish-queued.ts';
import { type JobId, nodeIdSchema } from '../../protocol/ids.ts';
import { type JobWhy, jobWhySchema } from '../../protocol/why.ts';
import {
  ENGINE,
  type JobOptions,
  type TaskRow,
  type TestCoordinator,
  type TestJob,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { deliver, giveTo, leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
// Each test has nodes and jobs to itself.
beforeEach(async () => {
  const open = ['waiting', 'queued', 'leased'] as const;
  await farm.db.updateTable('tasks').set({ state: 'dropped' }).where('state', 'in', open).execute();
  await farm.db
    .updateTable('jobs')
    .set({ state: 'cancelled' })
    .where('state', 'in', ['opening', 'active'])
    .execute();
  await farm.everybodyLeaves();
});

const why = async (id: JobId): Promise<JobWhy> => jobWhySchema.parse(await whyView(farm.context, id));
const summaryOf = async (id: JobId): Promise<string> => (await why(id)).summary;

describe('what an operator says', () => {
  it('puts a node into pools and out of them, and limits an account', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob({ pool: 'red', account: 'films' });
    expect((await why(job.id)).nodes).toContainEqual(
      expect.objectContaining({ stand: 'pool', ids: [node.id] }),
    );
    await setPools(farm.context, node.id, ['red', 'red', 'blue']);
    expect((await farm.node(node.id)).pools).toEqual(['red', 'blue']);
    expect((await why(job.id)).nodes).toContainEqual(
      expect.objectContaining({ stand: 'free', ids: [node.id] }),
    );
    await changeAccount(farm.context, 'films', { maxNodes: 1 });
    await giveTo(farm, await farm.addNode(), job.tiles[0] as TaskRow);
    expect((await why(job.id)).nodes).toContainEqual({
      ...{ stand: 'account-limit', ids: [node.id] },
      text: 'the account films may have 1 node at once, and has them',
    });
    await changeAccount(farm.context, 'films', { maxNodes: null });
    expect((await why(job.id)).nodes).toContainEqual(
      expect.objectContaining({ stand: 'free', ids: [node.id] }),
    );
    const gone = nodeIdSchema.parse('gone');
    await expect(setPools(farm.context, gone, [])).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('why a job waits', () => {
  it.each<[FarmState, string]>([
    ['opening', 'its budget is being locked in the escrow; work begins when the chain has it'],
    ['completed', 'it is completed; nothing of it waits'],
    ['cancelled', 'it has ended (cancelled): no reason was given'],
  ])('is not for want of nodes when it is %s', async (state, summary) => {
    const job = await farm.addJob({ state });
    expect(await why(job.id)).toMatchObject({ summary, share: null, nodes: [] });
  });

  it('is that what there is to do is under way, or waits for its check', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob({ tilesPerFrame: 1 });
    const leased = await leaseTo(farm, node, job.tiles[0] as TaskRow);
    expect(await summaryOf(job.id)).toBe('nothing waits for a node: 1 task is being rendered');
    await farm.db.updateTable('tasks').set({ state: 'queued' }).where('id', '=', leased.id).execute();
    await deliver(farm, node, job.tiles);
    await farm.db
      .updateTable('tasks')
      .set({ state: 'waiting' })
      .where('job_id', '=', job.id)
      .where('kind', '=', 'finish')
      .execute();
    expect(await summaryOf(job.id)).toBe(
      'all tiles are rendered: 1 task is being checked, and frames are merged after that',
    );
  });

  const refused: [string, JobOptions, (job: TestJob, node: TestNode) => Promise<unknown>, string, string][] =
    [
      ['engine', { engine: 'blender-4.3.2' }, async () => undefined, 'engine', 'has no blender-4.3.2'],
      ['kind of device', { deviceClass: 'optix-sm89' }, async () => undefined, 'device', 'has no optix-sm89'],
      ['pool', { pool: 'red' }, async () => undefined, 'pool', 'is not in the pool red'],
      [
        'check of this job',
        {},
        (job, node) =>
          farm.db
            .insertInto('job_exclusions')
            .values({ job_id: job.id, node_id: node.id, reason: 'cheated' })
            .execute(),
        'excluded',
        'failed a check of this job and gets no more of it',
      ],
      [
        'quarantine',
        {},
        (_job, node) =>
          farm.db
            .updateTable('nodes')
            .set({ quarantined_until: new Date(farm.clock.now() + 1_000) })
            .where('id', '=', node.id)
            .execute(),
        'quarantined',
        'is quarantined',
      ],
      [
        'failure of every task that is left',
        { whole: true },
        (job, node) =>
          farm.db
            .insertInto('task_failures')
            .values({
              task_id: (job.wholes[0] as TaskRow).id,
              node_id: node.id,
              failure_class: 'node',
              code: 'X',
              message: 'it broke',
              at: new Date(0),
            })
            .execute(),
        'failed-all',
        'failed every task that is left, and others are to try',
      ],
      [
        'limit of the job',
        { maxNodes: 1 },
        async (job) => giveTo(farm, await farm.addNode({ online: false }), job.tiles[0] as TaskRow),
        'job-limit',
        'the job may have 1 node at once, and has them',
      ],
    ];
  it.each(refused)('is the %s of the only node, and the dispatcher gives it nothing', async (...row) => {
    const [, options, become, stand, text] = row;
    const node = await farm.addNode();
    const job = await farm.addJob(options);
    await become(job, node);
    const said = await why(job.id);
    expect(said.summary).toContain(`no node may take them; nearest to it: 1 node (${text})`);
    expect(said.nodes).toContainEqual({ stand, ids: [node.id], text });
    // The same function decides: what cannot be explained cannot happen either.
    const dispatcher = new Dispatcher(farm.context);
    await dispatcher.start();
    farm.queue.onPublish = async (pointer) => farm.queue.deliver(pointer);
    const stopping = new AbortController();
    const asked = dispatcher.lease({ ...node, engines: [ENGINE] }, undefined, stopping.signal);
    await publishQueued(farm.db, farm.queue);
    await dispatcher.idle();
    expect(dispatcher.waiting).toEqual([node.id]);
    stopping.abort();
    expect((await asked).run).toBeNull();
    farm.queue.onPublish = async () => undefined;
  });

  it('is that nobody is there', async () => {
    const job = await farm.addJob({ tilesPerFrame: 2 });
    expect(await summaryOf(job.id)).toBe('2 tasks wait: every node of this farm is offline');
  });

  it('is the share of others, in nodes', async () => {
    const nodes = [await farm.addNode(), await farm.addNode(), await farm.addNode(), await farm.addNode()];
    const other = await farm.addJob({ tilesPerFrame: 4, priority: 75 });
    const job = await farm.addJob({ tilesPerFrame: 3, priority: 25 });
    expect(await summaryOf(job.id)).toBe('3 tasks wait; 4 nodes that fit are free and get them next');
    for (const [index, node] of nodes.entries()) await giveTo(farm, node, other.tiles[index] as TaskRow);
    const busy = await why(job.id);
    expect(busy.summary).toBe(
      '3 tasks wait: every node that fits is busy with other jobs; its fair share is 1 of 4',
    );
    expect(busy.share).toEqual({ working: 0, fair: 1, fitting: 4 });
    await giveTo(farm, nodes[0] as TestNode, job.tiles[0] as TaskRow);
    expect(await summaryOf(job.id)).toBe(
      '2 tasks wait while 1 node of 4 that fit work on it; its fair share is 1 of 4',
    );
  });

  it('changes nobody’s share by being asked', async () => {
    await farm.addNode();
    const job = await farm.addJob();
    await why(job.id);
    expect((await farm.job(job.id)).share_base).toBeNull();
  });
});

type FarmState = NonNullable<JobOptions['state']>;
