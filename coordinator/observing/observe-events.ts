/** The events of jobs as log lines and numbers: one place, so that each line names job, task, node and batch. */
import type { Log } from '../../platform/log.ts';
import type { FarmEvent } from '../../protocol/events.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { JobState } from '../../protocol/job.ts';
import type { CoordinatorMetrics } from './metrics.ts';

const ENDS = new Map<FarmEvent['type'], JobState>([
  ['job.completed', 'completed'],
  ['job.failed', 'failed'],
  ['job.cancelled', 'cancelled'],
]);

/**
 * For the event log, which calls it inside the transaction that an event belongs to: should that be rolled back, the
 * line stands there all the same, followed by the error that rolled it back.
 */
export function observeEvents(metrics: CoordinatorMetrics, log: Log) {
  return (jobId: JobId, events: readonly FarmEvent[]): void => {
    for (const { type, ...fields } of events) log[levelOf(type)]({ jobId, ...fields }, type);
    for (const event of events) count(metrics, event);
  };
}

/** Hundreds of tasks a second would bury what happens to jobs and money. */
function levelOf(type: FarmEvent['type']): 'debug' | 'info' | 'warn' {
  if (type.startsWith('task.')) return 'debug';
  const bad: FarmEvent['type'][] = ['node.quarantined', 'verifier.caught', 'job.failed'];
  return bad.includes(type) ? 'warn' : 'info';
}

function count(metrics: CoordinatorMetrics, event: FarmEvent): void {
  // Tasks are counted where nodes ask (observe-nodes.ts).
  const end = ENDS.get(event.type);
  if (end !== undefined) metrics.jobsEnded.inc({ state: end });
  if (event.type === 'batch.settled') metrics.batchesSettled.inc({ outcome: event.outcome });
  if (event.type === 'node.quarantined') metrics.quarantines.inc();
}
