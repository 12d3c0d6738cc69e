/** Which living sessions have to go. Pure. */

/** What is known of a living session. */
export type Living<Id> = {
  id: Id;
  /** When its last work ended, or it was opened. */
  lastUsedMs: number;
  memoryBytes: number;
  inUse: boolean;
};

export type PoolLimits = {
  /** An idle session is ended after this long. */
  idleMs: number;
  /** Sum over all sessions. */
  memoryBytes: number;
  sessions: number;
};

export type Demand = { nowMs: number /** Sessions that are about to be opened. */; opening: number };

/**
 * The sessions to end, least recently used first: those idle too long, then as many as it takes to be within both
 * limits. Never one that is in use, so what remains can be over a limit while everything is busy; and never the last
 * one for its memory alone: a scene larger than the budget would be loaded again for every task.
 */
export function whomToEvict<Id>(
  living: readonly Living<Id>[],
  limits: PoolLimits,
  { nowMs, opening }: Demand,
): Id[] {
  const idle = living.filter((one) => !one.inUse).sort((a, b) => a.lastUsedMs - b.lastUsedMs);
  let memory = living.reduce((sum, one) => sum + one.memoryBytes, 0);
  let count = living.length + opening;
  const evicted: Id[] = [];
  for (const one of idle) {
    const expired = nowMs - one.lastUsedMs >= limits.idleMs;
    const tooMuch = memory > limits.memoryBytes && count > 1;
    if (!expired && !tooMuch && count <= limits.sessions) break;
    evicted.push(one.id);
    memory -= one.memoryBytes;
    count -= 1;
  }
  return evicted;
}

/** How long until the next idle session expires; undefined when none will. */
export function nextExpiryMs<Id>(
  living: readonly Living<Id>[],
  limits: PoolLimits,
  nowMs: number,
): number | undefined {
  const ends = living.filter((one) => !one.inUse).map((one) => one.lastUsedMs + limits.idleMs - nowMs);
  return ends.length === 0 ? undefined : Math.max(0, Math.min(...ends));
}
