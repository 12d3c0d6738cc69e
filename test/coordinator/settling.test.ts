import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { endJob } from '../../coordinator/scheduling/end-job.ts';
import { extendLeases } from '../../coordinator/scheduling/heartbeat.ts';
import { finishInputs } from '../../coordinator/scheduling/lease-run.ts';
import { applyOutcome } from '../../coordinator/settlement/apply-outcome.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { toJson } from '../../platform/json.ts';
import { type JobId, moneySchema, type TaskId } from '../../protocol/ids.ts';
import type { Evidence, Outcome } from '../../protocol/verdict.ts';
import {
  type BatchRow,
  ENGINE,
  SCENE,
  someBytes32,
  type TaskRow,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { claim, completeTask, completionOf, deliver, ended, leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

const AGE_MS = 15_000;
const close = (): Promise<number> => closeBatches(farm.db, new Date(farm.clock.now()), AGE_MS);
/** A job whose tiles were all delivered by one node, in a closed batch. */
async function delivered(options: Parameters<TestCoordinator['addJob']>[0] = {}) {
  const node = await farm.addNode();
  const job = await farm.addJob(options);
  await deliver(farm, node, job.tiles);
  await close();
  return { node, job, batch: await farm.batchOf(job.id) };
}

async function evidenceOf(
  batch: BatchRow,
  outcome: Outcome = 'fail',
  reason = '12 % of the pixels match, 98 % are needed',
): Promise<BatchRow> {
  const evidence: Evidence = {
    version: 3,
    batchId: batch.id,
    batchKey: batch.chain_key ?? someBytes32(),
    jobId: batch.job_id,
    scene: SCENE,
    precision: 'float',
    thresholds: 'sameClass',
    seed: someBytes32(),
    root: batch.root ?? someBytes32(),
    outcome,
    engine: ENGINE,
    deviceClass: 'cpu-avx2',
    comparisons: [
      {
        index: 0,
        kind: 'render',
        frame: 1,
        rect: { x: 32, y: 0, width: 32, height: 32 },
        crop: { x: 32, y: 0, width: 16, height: 16 },
        samples: 16,
        outcome,
        decidedBy: 'pixelMatch',
        reason,
        pixelMatchFraction: 0.12,
        perceptualHashDistance: 0,
        perceptualHashAloneWouldPay: true,
        steps: [],
        reference: null,
        claim: null,
        renderMs: 1,
        compareMs: 1,
        heatMap: null,
      },
    ],
  };
  return { ...batch, evidence: await farm.context.blobs.putBytes(Buffer.from(toJson(evidence))) };
}

describe('a batch that passed', () => {
  it('verifies its tasks and counts the money once', async () => {
    const { node, job, batch } = await delivered({ frames: [1], tilesPerFrame: 2 });
    await applyOutcome(farm.context, batch, ended('pass'));
    for (const tile of job.tiles) expect((await farm.task(tile.id)).state).toBe('verified');
    expect(await farm.frame(job.id, 1)).toMatchObject({ tiles_verified: 2, state: 'pending' });
    expect((await farm.job(job.id)).spent).toBe('2000');
    expect((await farm.node(node.id)).tasks_verified).toBe(2);
    expect(await farm.eventsOf(job.id)).toContainEqual({
      type: 'batch.settled',
      batchId: batch.id,
      nodeId: node.id,
      outcome: 'pass',
      amount: '2000',
    });
  });

  it('changes nothing a second time, whatever the second outcome is', async () => {
    const { node, job, batch } = await delivered();
    await applyOutcome(farm.context, batch, ended('pass'));
    const before = [
      await farm.job(job.id),
      await farm.node(node.id),
      await farm.frame(job.id, 1),
      await farm.eventsOf(job.id),
    ];
    await applyOutcome(farm.context, batch, ended('pass'));
    await applyOutcome(farm.context, batch, ended('fail'));
    const after = [
      await farm.job(job.id),
      await farm.node(node.id),
      await farm.frame(job.id, 1),
      await farm.eventsOf(job.id),
    ];
    expect(after).toEqual(before);
  });

  it('counts money once when it is applied twice in the same moment', async () => {
    const { job, batch } = await delivered();
    await Promise.all([
      applyOutcome(farm.context, batch, ended('pass')),
      applyOutcome(farm.context, batch, ended('pass')),
    ]);
    expect((await farm.job(job.id)).spent).toBe('2000');
  });

  it('gives the finish task the verified tiles in order', async () => {
    const { job, batch } = await delivered({ tilesPerFrame: 3 });
    await applyOutcome(farm.context, batch, ended('pass'));
    const inputs = await finishInputs(farm.db, job.id, 1);
    expect(inputs.map((input) => input.rect.x)).toEqual([0, 32, 64]);
  });

  it('delivers the frames of verified finish tasks and completes the job with the last one', async () => {
    const { node, job, batch } = await delivered({ frames: [3, 4], tilesPerFrame: 1 });
    await applyOutcome(farm.context, batch, ended('pass'));
    const [third, fourth] = job.finishes as [TaskRow, TaskRow];
    await deliver(farm, node, [third]);
    const firstFinish = await farm.batchOf(job.id);
    await farm.db.updateTable('batches').set({ state: 'closed' }).where('id', '=', firstFinish.id).execute();
    await applyOutcome(farm.context, firstFinish, ended('pass'));
    expect(await farm.frame(job.id, 3)).toMatchObject({ state: 'done' });
    expect((await farm.frame(job.id, 3)).picture).toMatch(/^[0-9a-f]{64}$/);
    expect((await farm.job(job.id)).state).toBe('active');

    await deliver(farm, node, [fourth]);
    await applyOutcome(farm.context, await farm.batchOf(job.id), ended('pass'));
    expect(await farm.job(job.id)).toMatchObject({
      state: 'completed',
      spent: '4000',
      finished_at: new Date(farm.clock.now()),
    });
    const types = (await farm.eventsOf(job.id)).map((event) => event.type);
    expect(types.filter((type) => type === 'frame.done')).toHaveLength(2);
    expect(types.filter((type) => type === 'job.completed')).toHaveLength(1);
  });

  it('pays for what was delivered before a job was cancelled, and starts nothing new', async () => {
    const { job, batch } = await delivered();
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, job.id, 'cancelled', 'on request'));
    await applyOutcome(farm.context, batch, ended('pass'));
    expect(await farm.job(job.id)).toMatchObject({ state: 'cancelled', spent: '2000' });
    expect((await farm.task(job.finishes[0]?.id as TaskId)).state).toBe('dropped');
  });

  it('adds up money beyond what a JavaScript number holds', async () => {
    const price = moneySchema.parse('9007199254740993');
    const { job, batch } = await delivered({ price });
    await applyOutcome(farm.context, batch, ended('pass'));
    expect((await farm.job(job.id)).spent).toBe((2n * price).toString());
  });
});

describe('a batch that failed', () => {
  it('puts its tasks back without any trace of the receipt and pays nothing', async () => {
    const { node, job, batch } = await delivered();
    await applyOutcome(farm.context, await evidenceOf(batch), ended('fail'));
    for (const tile of job.tiles) {
      expect(await farm.task(tile.id)).toMatchObject({
        state: 'queued',
        published: false,
        receipt: null,
        leaf: null,
        batch_id: null,
        batch_index: null,
        progress: 0,
      });
    }
    expect((await farm.job(job.id)).spent).toBe('0');
    expect(await farm.frame(job.id, 1)).toMatchObject({ tiles_verified: 0 });
    expect(await farm.node(node.id)).toMatchObject({ tasks_verified: 0, tasks_forfeited: 2 });
  });

  it('quarantines the node, excludes it from the job and says which tile showed it', async () => {
    const { node, job, batch } = await delivered();
    await applyOutcome(farm.context, await evidenceOf(batch), ended('fail'));
    const row = await farm.node(node.id);
    expect(row.quarantined_until).toEqual(new Date(farm.clock.now() + farm.context.config.quarantineMs));
    expect(row.reason).toBe('frame 1, tile at 32,0 (32x32): 12 % of the pixels match, 98 % are needed');
    const events = await farm.eventsOf(job.id);
    expect(events).toContainEqual({ type: 'node.quarantined', nodeId: node.id, reason: row.reason });
    expect(events.filter((event) => event.type === 'task.requeued')).toHaveLength(2);
    expect(await claim(farm, node, job.tiles)).toBeNull();
    expect(await claim(farm, await farm.addNode(), job.tiles)).not.toBeNull();
  });

  it('takes all that the node has leased from it at once, of whatever job, and gives it to others', async () => {
    const { node, batch } = await delivered();
    const other = await farm.addJob();
    const held = await leaseTo(farm, node, other.tiles[0] as TaskRow);
    const message = await completionOf(farm, node, held);
    await applyOutcome(farm.context, await evidenceOf(batch), ended('fail'));
    expect(await farm.task(held.id)).toMatchObject({ state: 'queued', published: false, losses: 0 });
    expect(await farm.eventsOf(other.id)).toContainEqual(
      expect.objectContaining({ type: 'task.requeued', taskId: held.id, nodeId: node.id }),
    );
    const lease = { taskId: held.id, token: held.token, progress: 0.5 };
    expect(await extendLeases(farm.context, node.id, [lease])).toEqual([held.id]);
    await expect(completeTask(farm.context, node.id, message)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    // Its question for work may have been waiting when the verdict came.
    expect(await claim(farm, node, other.tiles)).toBeNull();
    expect((await claim(farm, await farm.addNode(), [held]))?.id).toBe(held.id);
  });

  it('changes nothing a second time', async () => {
    const { node, job, batch } = await delivered();
    const judged = await evidenceOf(batch);
    await applyOutcome(farm.context, judged, ended('fail'));
    const other = await farm.addNode();
    await deliver(farm, other, job.tiles.slice(0, 1));
    await applyOutcome(farm.context, judged, ended('fail'));
    await applyOutcome(farm.context, judged, ended('pass'));
    expect((await farm.task(job.tiles[0]?.id as TaskId)).state).toBe('delivered');
    expect((await farm.node(node.id)).tasks_forfeited).toBe(2);
    expect((await farm.job(job.id)).spent).toBe('0');
  });

  it('drops the tasks of a job that has ended meanwhile', async () => {
    const { job, batch } = await delivered();
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, job.id, 'cancelled', null));
    await applyOutcome(farm.context, await evidenceOf(batch), ended('fail'));
    for (const tile of job.tiles) expect((await farm.task(tile.id)).state).toBe('dropped');
  });
});

describe('a batch that could not be judged', () => {
  // "Nobody else is left" speaks of all nodes of the farm.
  beforeEach(() => farm.everybodyLeaves());

  const failuresOf = (job: JobId) =>
    farm.db
      .selectFrom('task_failures')
      .innerJoin('tasks', 'tasks.id', 'task_failures.task_id')
      .select(['tasks.id', 'task_failures.node_id', 'failure_class', 'code'])
      .where('tasks.job_id', '=', job)
      .orderBy('tasks.position')
      .execute();

  it('is rendered again by others, and costs its node neither money nor its name', async () => {
    const other = await farm.addNode();
    const { node, job, batch } = await delivered();
    await applyOutcome(farm.context, batch, ended('inconclusive'));
    for (const tile of job.tiles) {
      expect(await farm.task(tile.id)).toMatchObject({ state: 'queued', batch_id: null, receipt: null });
    }
    expect(await farm.node(node.id)).toMatchObject({
      quarantined_until: null,
      tasks_forfeited: 0,
      tasks_verified: 0,
    });
    expect(await farm.job(job.id)).toMatchObject({ state: 'active', spent: '0' });
    expect(await farm.eventsOf(job.id)).toContainEqual(
      expect.objectContaining({ type: 'batch.settled', amount: '0' }),
    );
    expect(await failuresOf(job.id)).toEqual(
      job.tiles.map(({ id }) => ({
        id,
        node_id: node.id,
        failure_class: 'node',
        code: 'NOT_CONCLUSIVE',
      })),
    );
    expect(await claim(farm, node, job.tiles)).toBeNull();
    await deliver(farm, other, job.tiles);
    expect(await farm.batchOf(job.id)).toMatchObject({ node_id: other.id, receipts: 2 });
  });

  it('takes from its node only these tasks, not the job', async () => {
    await farm.addNode();
    const node = await farm.addNode();
    const job = await farm.addJob({ tilesPerFrame: 3 });
    await deliver(farm, node, job.tiles.slice(0, 2));
    await applyOutcome(farm.context, await farm.batchOf(job.id), ended('inconclusive'));
    expect((await claim(farm, node, job.tiles))?.id).toBe(job.tiles[2]?.id);
  });

  it('ends the job when nobody else is there to render it', async () => {
    const { job, batch } = await delivered();
    await applyOutcome(farm.context, batch, ended('inconclusive'));
    expect(await farm.job(job.id)).toMatchObject({
      state: 'failed',
      spent: '0',
      reason: expect.stringMatching(/^every node failed on tile 0 of frame 1; the last: .*not conclusive/),
    });
    for (const tile of job.tiles) expect((await farm.task(tile.id)).state).toBe('dropped');
    expect((await farm.batchOf(job.id)).state).toBe('settled');
  });

  it('says what the verifier lacked, to the artist and in the record of the task', async () => {
    const { node, job, batch } = await delivered();
    const lacking = 'VERIFIER_LACKS_DEVICE: this verifier cannot check what was rendered there';
    await applyOutcome(farm.context, await evidenceOf(batch, 'inconclusive', lacking), ended('inconclusive'));
    expect(await farm.job(job.id)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining(`the check was not conclusive (${lacking})`),
    });
    expect(await farm.node(node.id)).toMatchObject({ quarantined_until: null, tasks_forfeited: 0 });
  });

  it('ends the job when the only other node is excluded from it', async () => {
    const cheat = await farm.addNode();
    const { job, batch } = await delivered();
    await farm.db
      .insertInto('job_exclusions')
      .values({ job_id: job.id, node_id: cheat.id, reason: 'cheated' })
      .execute();
    await applyOutcome(farm.context, batch, ended('inconclusive'));
    expect((await farm.job(job.id)).state).toBe('failed');
  });

  it('ends the job as the third node whose pixels were not clear', async () => {
    await farm.addNode();
    const job = await farm.addJob({ tilesPerFrame: 1 });
    for (let nth = 1; nth <= 3; nth++) {
      expect((await farm.job(job.id)).state).toBe('active');
      await deliver(farm, await farm.addNode(), job.tiles);
      await applyOutcome(farm.context, await farm.batchOf(job.id), ended('inconclusive'));
    }
    expect(await farm.job(job.id)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('3 nodes failed on tile 0 of frame 1'),
    });
  });

  it('changes nothing a second time, and nothing of a job that has ended', async () => {
    await farm.addNode();
    const { job, batch } = await delivered();
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, job.id, 'cancelled', null));
    await applyOutcome(farm.context, batch, ended('inconclusive'));
    await applyOutcome(farm.context, batch, ended('inconclusive'));
    expect((await farm.job(job.id)).state).toBe('cancelled');
    for (const tile of job.tiles) expect((await farm.task(tile.id)).state).toBe('dropped');
    expect(await failuresOf(job.id)).toHaveLength(job.tiles.length);
  });
});
