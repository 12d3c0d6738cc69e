/** A node gives a task back. */
import type { NodeId } from '../../protocol/ids.ts';
import type { Fail } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { TaskRow } from './claim-task.ts';
import { leasedTask } from './complete-task.ts';
import { endJob } from './end-job.ts';
import { ableNodes } from './able-nodes.ts';
import { onlineSince } from './nodes.ts';

/** So many different nodes failing on one task say that it is the task. */
const NODES_TO_FAIL_A_TASK = 3;

/**
 * Notes the failure and puts the task back for another node, or ends the job when enough nodes failed on it or no
 * node is left that may try. Infrastructure failures (network, storage) count against nobody.
 */
export async function failTask(context: CoordinatorContext, nodeId: NodeId, message: Fail): Promise<void> {
  const now = new Date(context.clock.now());
  await context.db.transaction().execute(async (tx) => {
    const task = await leasedTask(tx, nodeId, message);
    await tx
      .insertInto('task_failures')
      .values({
        task_id: task.id,
        node_id: nodeId,
        failure_class: message.failureClass,
        code: message.code,
        message: message.message,
        at: now,
      })
      .execute();
    await tx
      .updateTable('tasks')
      .set({ state: 'queued', published: false, lease_until: null, progress: 0 })
      .where('id', '=', task.id)
      .execute();
    await context.events.add(
      tx,
      task.job_id,
      {
        type: 'task.requeued',
        taskId: task.id,
        kind: task.kind,
        frame: task.frame,
        tile: task.tile,
        nodeId,
        reason: message.message,
      },
      now,
    );
    const verdict = await whyHopeless(context, tx, task);
    if (verdict !== null) await endJob(context, tx, task.job_id, 'failed', verdict);
  });
}

/** Why this task should not be tried again, or null. */
async function whyHopeless(
  context: CoordinatorContext,
  tx: FarmQuery,
  task: TaskRow,
): Promise<string | null> {
  const failures = await tx
    .selectFrom('task_failures')
    .select(['node_id', 'message'])
    .where('task_id', '=', task.id)
    .where('failure_class', '<>', 'infrastructure')
    .orderBy('at', 'desc')
    .execute();
  const failed = new Set(failures.map((failure) => failure.node_id));
  const what =
    task.kind === 'render' ? `tile ${task.tile} of frame ${task.frame}` : `finishing frame ${task.frame}`;
  if (failed.size >= NODES_TO_FAIL_A_TASK)
    return `${failed.size} nodes failed on ${what}; the last: ${failures[0]?.message}`;
  const able = await ableNodes(tx, task.job_id, onlineSince(context.clock.now(), context.config.leaseMs));
  if (failed.size > 0 && able.every((id) => failed.has(id))) {
    return `every node failed on ${what}; the last: ${failures[0]?.message}`;
  }
  return null;
}
