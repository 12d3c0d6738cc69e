/** A job ends: nothing more of it is handed out. What nodes have delivered is still checked and paid. */

import { assertNever } from '../../protocol/errors.ts';
import type { FarmEvent } from '../../protocol/events.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { JOB_MACHINE } from '../states/job.ts';
import { sourcesOf } from '../states/machine.ts';

export type JobEnd = 'completed' | 'failed' | 'cancelled';

/** Ends a running job; one that has ended keeps its first ending. Returns whether this call ended it. */
export async function endJob(
  context: CoordinatorContext,
  tx: FarmQuery,
  jobId: JobId,
  end: JobEnd,
  reason: string | null,
): Promise<boolean> {
  const now = new Date(context.clock.now());
  const ended = await tx
    .updateTable('jobs')
    .set({ state: end, reason, finished_at: now })
    .where('id', '=', jobId)
    .where('state', 'in', sourcesOf(JOB_MACHINE, end))
    .returning('id')
    .executeTakeFirst();
  if (ended === undefined) return false;
  await tx
    .updateTable('tasks')
    .set({ state: 'dropped', lease_until: null })
    .where('job_id', '=', jobId)
    .where('state', 'in', ['waiting', 'queued', 'leased'])
    .execute();
  await context.events.add(tx, jobId, endEvent(end, reason ?? ''), now);
  return true;
}

function endEvent(end: JobEnd, reason: string): FarmEvent {
  switch (end) {
    case 'completed':
      return { type: 'job.completed' };
    case 'failed':
      return { type: 'job.failed', reason };
    case 'cancelled':
      return { type: 'job.cancelled', reason };
    default:
      return assertNever(end);
  }
}
