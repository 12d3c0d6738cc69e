/** Between the benchmark and the process that plays its nodes. */
import type { Address, Digest } from '../../protocol/ids.ts';
import type { SyntheticMember } from './prepare-chain.ts';

export type DriverSetUp = {
  apiUrl: string;
  natsUrl: string;
  nodes: readonly SyntheticMember[];
  operator: Address;
  picture: Digest;
  engine: { id: string; deviceClass: string };
};

/** `perSecond` null: every node asks again as soon as it has delivered. Else so many nodes become idle each second. */
export type Load = { tasksPerRun: number; perSecond: number | null };

export type ToDriver =
  | { type: 'set-up'; setUp: DriverSetUp }
  | { type: 'load'; load: Load }
  | { type: 'stop' }
  | { type: 'counts' };

export type DriverCounts = {
  /** Tasks that were leased, and those whose result was taken. */
  leased: number;
  completed: number;
  /** Results that had to be signed again, and answers that were no work. */
  moved: number;
  empty: number;
  errors: number;
  lastError: string;
  /** From asking to having a task, since the last question. */
  waitsMs: number[];
};

export type FromDriver = { type: 'ready' } | { type: 'stopped' } | { type: 'counts'; counts: DriverCounts };
