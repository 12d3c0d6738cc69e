/** Every machine of the coordinator, in the order of docs/states.md. */
import { BATCH_MACHINE } from './batch.ts';
import { FRAME_MACHINE } from './frame.ts';
import { JOB_MACHINE } from './job.ts';
import { LEASE_MACHINE } from './lease.ts';
import type { StateMachine } from './machine.ts';
import { NODE_MACHINE } from './node.ts';
import { STAKE_MACHINE } from './stake.ts';
import { TASK_MACHINE } from './task.ts';

export const MACHINES: readonly StateMachine[] = [
  JOB_MACHINE,
  TASK_MACHINE,
  LEASE_MACHINE,
  FRAME_MACHINE,
  NODE_MACHINE,
  BATCH_MACHINE,
  STAKE_MACHINE,
];
