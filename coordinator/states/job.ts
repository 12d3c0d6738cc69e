import type { JobState } from '../../protocol/job.ts';
import type { StateMachine } from './machine.ts';

export const JOB_MACHINE: StateMachine<JobState> = {
  name: 'job',
  table: 'jobs',
  states: {
    opening: 'It is written down; its money is not in the escrow yet, so nobody works on it.',
    active: 'Its money is in the escrow and its tasks are handed out.',
    completed: 'Every frame was checked and paid.',
    failed: 'It was given up; what was delivered is still checked and paid.',
    cancelled: 'Its artist stopped it; what was delivered is still checked and paid.',
  },
  initial: ['opening'],
  final: ['completed', 'failed', 'cancelled'],
  edges: [
    { from: 'opening', to: 'active', events: ['job.funded'], reason: 'the escrow holds its budget' },
    {
      from: 'opening',
      to: 'failed',
      events: ['job.failed'],
      reason: 'the escrow refused it, its deadline passed, or the farm has lost its engine',
    },
    { from: 'opening', to: 'cancelled', events: ['job.cancelled'], reason: 'cancelled on request' },
    { from: 'active', to: 'completed', events: ['job.completed'], reason: 'its last frame is done' },
    {
      from: 'active',
      to: 'failed',
      events: ['job.failed'],
      reason:
        'too many nodes failed on one task, no node is left that may try, its deadline passed, or the farm has lost its engine',
    },
    { from: 'active', to: 'cancelled', events: ['job.cancelled'], reason: 'cancelled on request' },
  ],
};
