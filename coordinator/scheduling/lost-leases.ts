/** Tasks whose node went silent or was quarantined go back to the queue; the old lease's token is dead from then on. */

import { sql } from 'kysely';
import { inTransaction } from '../../platform/database/in-transaction.ts';
import type { JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { TaskRow } from './claim-run.ts';
import { endSilentCopies, endSilentOlder, graceOlder, leaveToOthers } from './copies/two-leases.ts';
import { endJob } from './end-job.ts';
import { leaseMs, noteNodeTime } from './node-time.ts';

/**
 * A task that was lost this often takes its node down with it: the farm stops feeding it nodes and fails the job.
 * A machine that is switched off loses a task once.
 */
const MAX_LOSSES = 5;

/** Requeues expired leases, but those of two nodes of which one goes on. Returns how many there were. */
export async function requeueLostLeases(context: CoordinatorContext): Promise<number> {
  const now = new Date(context.clock.now());
  return await inTransaction(context.db, async (tx) => {
    const copies = await endSilentCopies(context, tx, now);
    const { rows } = await sql<TaskRow>`
      update tasks set state = 'queued', published = false, progress = 0, losses = losses + 1, lease_until = null
      where state = 'leased' and lease_until < ${now}
      returning *`.execute(tx);
    await noteNodeTime(
      tx,
      rows.map((task) => ({ jobId: task.job_id, ms: leaseMs(task, now), tasks: 1 })),
    );
    for (const task of rows) {
      const reason = `node ${task.node_id} went silent; its lease ran out`;
      const nodeId = task.node_id;
      if (nodeId === null) continue;
      await noteRequeued(context, tx, task, nodeId, reason, now);
      if (task.losses >= MAX_LOSSES) {
        await endJob(
          context,
          tx,
          task.job_id,
          'failed',
          `frame ${task.frame} was lost by ${task.losses} nodes that went silent`,
        );
      }
    }
    return rows.length + copies + (await endSilentOlder(context, tx, now));
  });
}

/**
 * Takes everything from a node that it has leased, of whatever job or `of` this one, for others to have at once: until a lease runs out
 * nobody would get what this node may not deliver any more. No loss is counted: the tasks did nothing to the node.
 */
export async function releaseLeases(
  context: CoordinatorContext,
  tx: FarmQuery,
  nodeId: NodeId,
  reason: string,
  now: Date,
  of: { jobId?: JobId; taskId?: TaskId | undefined } = {},
): Promise<void> {
  const { jobId = null, taskId = null } = of;
  const within = sql`(${jobId}::text is null or t.job_id = ${jobId}) and (${taskId}::text is null or t.id = ${taskId})`;
  await leaveToOthers(context, tx, { nodeId, within }, reason, now);
  const { rows } = await sql<TaskRow>`
    update tasks t set state = 'queued', published = false, progress = 0, lease_until = null
    where t.state = 'leased' and t.node_id = ${nodeId} and ${within}
    returning *`.execute(tx);
  for (const task of rows) await noteRequeued(context, tx, task, nodeId, reason, now);
}

async function noteRequeued(
  context: CoordinatorContext,
  tx: FarmQuery,
  task: TaskRow,
  nodeId: NodeId,
  reason: string,
  now: Date,
): Promise<void> {
  const { id: taskId, kind, frame, tile } = task;
  await context.events.add(
    tx,
    task.job_id,
    { type: 'task.requeued', taskId, kind, frame, tile, nodeId, reason },
    now,
  );
}

/**
 * After a start: heartbeats could not be answered while the coordinator was away, which is not the nodes' fault. Every
 * lease gets its full time once more; a node that is alive is heard of before it is over.
 */
export async function graceLeases(context: CoordinatorContext): Promise<void> {
  const until = new Date(context.clock.now() + context.config.leaseMs);
  // Who was heard of is not known either; nobody counts as gone for having called nobody.
  await context.db
    .updateTable('nodes')
    .set({ last_seen_at: new Date(context.clock.now()) })
    .execute();
  await context.db.updateTable('tasks').set({ lease_until: until }).where('state', '=', 'leased').execute();
  await graceOlder(context.db, until);
}
