/** A node gives a task back. */
import { inTransaction } from '../../platform/database/in-transaction.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { Fail } from '../../protocol/messages.ts';
import { parked } from '../assembly/early-finish.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { TaskRow } from './claim-run.ts';
import { leasedTask } from './complete-tasks.ts';
import { leftToOther } from './copies/two-leases.ts';
import { endJob } from './end-job.ts';
import { leaseMs, noteNodeTime } from './node-time.ts';
import { whyHopeless } from './why-hopeless.ts';

/**
 * Notes the failure and puts the task back for another node, or ends the job when enough nodes failed on it or no
 * node is left that may try. Infrastructure failures (network, storage) count against nobody.
 */
export async function failTask(context: CoordinatorContext, nodeId: NodeId, message: Fail): Promise<void> {
  const now = new Date(context.clock.now());
  await inTransaction(context.db, async (tx) => {
    const task = await leasedTask(tx, nodeId, message);
    const requeued = (reason: string) => {
      const { id: taskId, kind, frame, tile } = task;
      const event = { type: 'task.requeued' as const, taskId, kind, frame, tile, nodeId, reason };
      return context.events.add(tx, task.job_id, event, now);
    };
    const noted = () => noteFailure(tx, task, nodeId, message, now);
    if (await leftToOther(context, tx, task, message.message, now)) return await noted();
    await noteNodeTime(tx, [{ jobId: task.job_id, ms: leaseMs(task, now), tasks: 1 }]);
    if (await parked(tx, task)) {
      await requeued(`put aside until its tiles are checked: ${message.message}`);
      return;
    }
    await noted();
    await tx
      .updateTable('tasks')
      .set({ state: 'queued', published: false, lease_until: null, progress: 0 })
      .where('id', '=', task.id)
      .execute();
    await requeued(message.message);
    const verdict = await whyHopeless(context, tx, task);
    if (verdict !== null) await endJob(context, tx, task.job_id, 'failed', verdict);
  });
}

/** It does not get this task again, whoever has it now. */
async function noteFailure(
  tx: FarmQuery,
  task: TaskRow,
  nodeId: NodeId,
  { failureClass, code, message }: Fail,
  at: Date,
): Promise<void> {
  await tx
    .insertInto('task_failures')
    .values({ task_id: task.id, node_id: nodeId, failure_class: failureClass, code, message, at })
    .execute();
}
