/** A node gives a task back. */
import { inTransaction } from '../../platform/database/in-transaction.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { Fail } from '../../protocol/messages.ts';
import { parked } from '../assembly/early-finish.ts';
import type { CoordinatorContext } from '../context.ts';
import { leasedTask } from './complete-tasks.ts';
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
    await noteNodeTime(tx, [{ jobId: task.job_id, ms: leaseMs(task, now), tasks: 1 }]);
    if (await parked(tx, task)) {
      await requeued(`put aside until its tiles are checked: ${message.message}`);
      return;
    }
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
    await requeued(message.message);
    const verdict = await whyHopeless(context, tx, task);
    if (verdict !== null) await endJob(context, tx, task.job_id, 'failed', verdict);
  });
}
