/** When a task is given up, and its job with it. */
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { ableNodes } from './able-nodes.ts';
import type { TaskRow } from './claim-run.ts';
import { onlineSince } from './nodes.ts';
import { taskName } from './task-name.ts';

/** So many different nodes failing on one task say that it is the task. */
const NODES_TO_FAIL_A_TASK = 3;

/** Why this task should not be tried again, or null. */
export async function whyHopeless(
  context: CoordinatorContext,
  tx: FarmQuery,
  task: Pick<TaskRow, 'id' | 'job_id' | 'kind' | 'frame' | 'tile'>,
): Promise<string | null> {
  const failures = await tx
    .selectFrom('task_failures')
    .select(['node_id', 'message'])
    .where('task_id', '=', task.id)
    .where('failure_class', '<>', 'infrastructure')
    .orderBy('at', 'desc')
    .execute();
  const failed = new Set(failures.map((failure) => failure.node_id));
  const what = taskName(task);
  if (failed.size >= NODES_TO_FAIL_A_TASK)
    return `${failed.size} nodes failed on ${what}; the last: ${failures[0]?.message}`;
  const able = await ableNodes(tx, task.job_id, onlineSince(context.clock.now(), context.config.leaseMs));
  if (failed.size > 0 && able.every((id) => failed.has(id))) {
    return `every node failed on ${what}; the last: ${failures[0]?.message}`;
  }
  return null;
}
