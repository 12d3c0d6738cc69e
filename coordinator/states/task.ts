import type { TaskState } from '../database/schema.ts';
import type { StateMachine } from './machine.ts';

export const TASK_MACHINE: StateMachine<TaskState> = {
  name: 'task',
  table: 'tasks',
  states: {
    waiting: 'A finish task whose tiles are not all there.',
    queued: 'Anybody who can may have it.',
    leased: 'A node works on it.',
    delivered: 'Its result is here, with a signed receipt, and is being checked.',
    verified: 'Its batch passed and was paid.',
    dropped: 'Its job ended before it was done.',
  },
  initial: ['waiting', 'queued'],
  final: ['verified', 'dropped'],
  edges: [
    {
      from: 'waiting',
      to: 'queued',
      events: ['task.delivered', 'batch.settled'],
      reason: 'all tiles of its frame are delivered or, after a failed try, checked',
    },
    { from: 'queued', to: 'leased', events: ['task.leased'], reason: 'a node asked for work' },
    { from: 'leased', to: 'delivered', events: ['task.delivered'], reason: 'the node handed in its result' },
    {
      from: 'leased',
      to: 'queued',
      events: ['task.requeued'],
      reason: 'the node gave it back, went silent, or was quarantined',
    },
    {
      from: 'leased',
      to: 'waiting',
      events: ['task.requeued', 'batch.settled'],
      reason: 'it failed while its tiles are unchecked, or one of them is rendered again',
    },
    {
      from: 'queued',
      to: 'waiting',
      events: ['batch.settled'],
      reason: 'a tile of its frame is rendered again',
    },
    { from: 'delivered', to: 'verified', events: ['batch.settled'], reason: 'its batch passed the check' },
    {
      from: 'delivered',
      to: 'queued',
      events: ['task.requeued'],
      reason: 'its batch failed, was not conclusive, or was refused by the escrow',
    },
    {
      from: 'delivered',
      to: 'waiting',
      events: ['task.requeued'],
      reason: 'it was finished from a tile that is rendered again',
    },
    {
      from: 'delivered',
      to: 'dropped',
      events: ['task.requeued'],
      reason: 'its batch did not pass, and its job has ended meanwhile',
    },
    { from: 'waiting', to: 'dropped', events: ['job.failed', 'job.cancelled'], reason: 'its job ended' },
    { from: 'queued', to: 'dropped', events: ['job.failed', 'job.cancelled'], reason: 'its job ended' },
    { from: 'leased', to: 'dropped', events: ['job.failed', 'job.cancelled'], reason: 'its job ended' },
  ],
};
