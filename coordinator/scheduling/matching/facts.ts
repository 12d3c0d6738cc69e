/** What a decision is made from: plain data, read from the database by read-facts.ts, made up by tests. */
import type { Digest, JobId, NodeId } from '../../../protocol/ids.ts';

/** A node that asks: its CPU or one of its GPUs. */
export type NodeFacts = {
  id: NodeId;
  /** Where its CPU asks: the ids of its engines there. Where a GPU asks: what that renders, as class keys. */
  device: { kind: 'cpu'; engines: readonly string[] } | { kind: 'gpu'; classes: readonly string[] };
  pools: readonly string[];
  quarantinedUntilMs: number | null;
  /** Scenes that it has open now. */
  warm: readonly Digest[];
  /** What it had last, while it has been asking for more. */
  lastJob: JobId | null;
  /** The least it works for, in token units a second of the reference machine; null: whatever the farm pays. */
  ask: bigint | null;
};

/** A node's leases of one job. */
export type InFlight = { leases: number; sinceMs: number };

export type JobFacts = {
  id: JobId;
  /** Order of submission. */
  seq: number;
  account: string;
  /** 1 to 100. */
  priority: number;
  scene: Digest;
  engine: string;
  /** A class of GPUs; null: CPUs. */
  deviceClass: string | null;
  deadlineMs: number;
  maxNodes: number | null;
  pool: string | null;
  /** The most it pays, in the unit of {@link NodeFacts.ask}; null: whatever is asked. */
  cap: bigint | null;
  /** Nodes that failed a check of it, or too many of its tasks. */
  excluded: ReadonlySet<NodeId>;
  /** Where its virtual time began; null where nobody has looked at it yet. */
  base: number | null;
  /** Node time that its finished leases took, and how many they were. */
  usedMs: number;
  usedTasks: number;
  inFlight: Map<NodeId, InFlight>;
  /**
   * Tasks that nobody has or has delivered, rows or not. Counted from what was delivered, not row by row: where something is
   * rendered again it is that much too low.
   */
  left: number;
};

export type AccountFacts = {
  maxNodes: number | null;
  base: number | null;
  /** Of all its jobs, ended ones included. */
  usedMs: number;
};

/** Active jobs and their accounts at one moment. */
export type FarmFacts = {
  atMs: number;
  jobs: Map<JobId, JobFacts>;
  accounts: Map<string, AccountFacts>;
};
