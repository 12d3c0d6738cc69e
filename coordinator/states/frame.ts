import type { FrameState } from '../database/schema.ts';
import type { StateMachine } from './machine.ts';

export const FRAME_MACHINE: StateMachine<FrameState> = {
  name: 'frame',
  table: 'frames',
  states: {
    pending: 'There is no picture of it; of a job that ended early there never will be.',
    unverified: 'Its picture can be looked at and has not been checked.',
    done: 'Its picture was checked and paid.',
  },
  initial: ['pending'],
  final: ['done'],
  edges: [
    { from: 'pending', to: 'unverified', events: ['task.delivered'], reason: 'its picture was delivered' },
    {
      from: 'unverified',
      to: 'pending',
      events: ['batch.settled', 'task.requeued'],
      reason: 'the picture, or a tile in it, did not pass the check',
    },
    { from: 'unverified', to: 'done', events: ['frame.done'], reason: 'its picture passed the check' },
  ],
};
