/** The money of a batch has moved (or stayed): what follows for its tasks, their frames and their node. */

import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import { inTransaction } from '../../platform/database/in-transaction.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import { advanceFrames } from '../assembly/advance-frames.ts';
import { withdrawFinishes } from '../assembly/early-finish.ts';
import { withdrawFrames } from '../assembly/show-frames.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, FarmTables } from '../database/schema.ts';
import { endJob } from '../scheduling/end-job.ts';
import { whyHopeless } from '../scheduling/why-hopeless.ts';
import { quarantine, whyFailed, whyUnclear } from './quarantine.ts';

export type BatchRow = Selectable<FarmTables['batches']>;

/** How a batch ended. */
export type Ending = {
  outcome: Outcome;
  /** A fail that two verifiers or a committee found. */
  agreed: boolean;
  /** What the operator lost of its stake. */
  slashed: bigint;
  /** Where nobody could tell: whose doing that was. */
  whose: 'node' | 'farm';
};

/** Rendered again by others: the pixels were not clear, or the escrow refused what the node signed. */
export const UNCLEAR: Ending = { outcome: 'inconclusive', agreed: false, slashed: 0n, whose: 'node' };
/** Rendered again, and it says nothing about the node: no verdict ever came. */
export const UNJUDGED: Ending = { ...UNCLEAR, whose: 'farm' };

/** In one transaction: the batch is settled; its tasks are verified, or back in the queue. Does nothing a second time. */
export async function applyOutcome(
  context: CoordinatorContext,
  batch: BatchRow,
  ending: Ending,
): Promise<void> {
  const now = new Date(context.clock.now());
  const { outcome, agreed } = ending;
  const slashed = ending.slashed.toString();
  await inTransaction(context.db, async (tx) => {
    const settled = await tx
      .updateTable('batches')
      .set({ state: 'settled', outcome, agreed, slashed, evidence: batch.evidence, asked: '[]' })
      .where('id', '=', batch.id)
      .where('state', '<>', 'settled')
      .returning('id')
      .executeTakeFirst();
    if (settled === undefined) return;
    if (await isCanary(tx, batch)) await endCanary(context, tx, batch, outcome);
    else if (outcome === 'pass') await accept(context, tx, batch);
    else await requeue(context, tx, batch, ending, now);
    const amount = outcome === 'pass' ? batch.amount : '0';
    await context.events.add(
      tx,
      batch.job_id,
      {
        type: 'batch.settled',
        ...{ batchId: batch.id, nodeId: batch.node_id, outcome, amount },
        ...(ending.slashed > 0n && { slashed }),
      },
      now,
    );
  });
}

async function isCanary(tx: FarmQuery, { id }: BatchRow): Promise<boolean> {
  const found = await tx.selectFrom('canaries').select('bad').where('batch_id', '=', id).executeTakeFirst();
  return found !== undefined;
}

/** Nothing of it is anybody's picture, and nobody renders it again: its job is over, however it was judged. */
async function endCanary(
  context: CoordinatorContext,
  tx: FarmQuery,
  batch: BatchRow,
  outcome: Outcome,
): Promise<void> {
  await tx
    .updateTable('tasks')
    .set({ state: outcome === 'pass' ? 'verified' : 'dropped' })
    .where('batch_id', '=', batch.id)
    .where('state', '=', 'delivered')
    .execute();
  if (await endJob(context, tx, batch.job_id, 'completed', null)) return;
  // Its opening is on chain, and was not noted yet.
  await endJob(context, tx, batch.job_id, 'cancelled', 'what it was made for is over');
}

async function accept(context: CoordinatorContext, tx: FarmQuery, batch: BatchRow): Promise<void> {
  const { numUpdatedRows } = await tx
    .updateTable('tasks')
    .set({ state: 'verified' })
    .where('batch_id', '=', batch.id)
    .where('state', '=', 'delivered')
    .executeTakeFirst();
  await sql`
    update jobs set spent = spent + ${batch.amount}::numeric, tasks_verified = tasks_verified + ${Number(numUpdatedRows)}
    where id = ${batch.job_id}`.execute(tx);
  await sql`update nodes set tasks_verified = tasks_verified + ${batch.receipts} where id = ${batch.node_id}`.execute(
    tx,
  );
  await advanceFrames(context, tx, batch);
}

async function requeue(
  context: CoordinatorContext,
  tx: FarmQuery,
  batch: BatchRow,
  ending: Ending,
  now: Date,
): Promise<void> {
  const { outcome, agreed, slashed, whose } = ending;
  const failed = outcome === 'fail';
  const reason = await whyRenderedAgain(context, batch, ending);
  await withdrawFrames(tx, batch.id);
  const { rows } = await sql<Pick<Selectable<FarmTables['tasks']>, 'id' | 'kind' | 'frame' | 'tile'>>`
    update tasks t set state = case when j.state = 'active' then 'queued' else 'dropped' end, published = false,
                       receipt = null, leaf = null, batch_id = null, batch_index = null, progress = 0
    from jobs j where j.id = t.job_id and t.batch_id = ${batch.id} and t.state = 'delivered'
    returning t.id, t.kind, t.frame, t.tile`.execute(tx);
  for (const task of rows) {
    await context.events.add(
      tx,
      batch.job_id,
      {
        type: 'task.requeued',
        taskId: task.id,
        kind: task.kind,
        frame: task.frame,
        tile: task.tile,
        nodeId: batch.node_id,
        reason,
      },
      now,
    );
  }
  if (batch.kind === 'render')
    await withdrawFinishes(
      context,
      tx,
      batch.job_id,
      rows.map((task) => task.frame),
      now,
    );
  if (failed)
    await sql`update nodes set tasks_forfeited = tasks_forfeited + ${batch.receipts}, slashed = slashed + ${slashed}::numeric
              where id = ${batch.node_id}`.execute(tx);
  if (failed && agreed) return await quarantine(context, tx, batch, reason, now);
  // A verdict that never came says nothing about the node.
  if (failed || whose === 'node') await leaveToOthers(context, tx, batch, rows, reason, now);
}

async function whyRenderedAgain(
  context: CoordinatorContext,
  batch: BatchRow,
  { outcome, agreed }: Ending,
): Promise<string> {
  if (outcome === 'fail') {
    const why = await whyFailed(context, batch);
    return agreed
      ? why
      : `${why} (one verifier alone found this, so it costs the node this batch and no more)`;
  }
  const why = await whyUnclear(context, batch);
  return `the check was not conclusive${why === '' ? '' : ` (${why})`}; it is rendered again`;
}

/**
 * Not clear, or a fail that nobody confirmed, means that another node renders it: the same one would only give the same pixels again. Where nobody else
 * is left the job ends, since a scene that never gives the same pixels twice cannot be checked.
 */
async function leaveToOthers(
  context: CoordinatorContext,
  tx: FarmQuery,
  batch: BatchRow,
  tasks: Pick<Selectable<FarmTables['tasks']>, 'id' | 'kind' | 'frame' | 'tile'>[],
  message: string,
  now: Date,
): Promise<void> {
  for (const task of tasks) {
    await tx
      .insertInto('task_failures')
      .values({
        task_id: task.id,
        node_id: batch.node_id,
        failure_class: 'node',
        code: 'NOT_CONCLUSIVE',
        message,
        at: now,
      })
      .execute();
    const hopeless = await whyHopeless(context, tx, { ...task, job_id: batch.job_id });
    if (hopeless !== null && (await endJob(context, tx, batch.job_id, 'failed', hopeless))) return;
  }
}
