import type { StateMachine } from './machine.ts';

export type LeaseState = 'held' | 'delivered' | 'returned' | 'expired' | 'revoked';

/** A lease is the time between two tokens of a task, longer where the task has a copy (task_copies); what it becomes the task shows. */
export const LEASE_MACHINE: StateMachine<LeaseState> = {
  name: 'lease',
  table: null,
  states: {
    held: 'A node works under it; heartbeats move its end.',
    delivered: 'The result came under its token.',
    returned: 'The node gave the task back with a reason.',
    expired: 'No heartbeat for the time of a lease, or an hour of heartbeats without a result.',
    revoked: 'The farm took the task away.',
  },
  initial: ['held'],
  final: ['delivered', 'returned', 'expired', 'revoked'],
  edges: [
    { from: 'held', to: 'delivered', events: ['task.delivered'], reason: 'the node handed in its result' },
    {
      from: 'held',
      to: 'returned',
      events: ['task.requeued', 'task.copy-ended'],
      reason: 'the node could not do the task or was stopped',
    },
    {
      from: 'held',
      to: 'expired',
      events: ['task.requeued', 'task.copy-ended'],
      reason: 'the node went silent',
    },
    {
      from: 'held',
      to: 'revoked',
      events: [
        'task.requeued',
        'task.copy-ended',
        'task.delivered',
        'batch.settled',
        'job.failed',
        'job.cancelled',
      ],
      reason:
        'the node was quarantined, another one delivered a copy of it first, the job ended, or a tile that is merged is rendered again',
    },
  ],
};
