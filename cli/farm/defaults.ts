/** What a coordinator is told where nobody says otherwise, however its farm is started. */
export const FARM_DEFAULTS = {
  /** A render task without a sign of life for this long goes to another node. */
  leaseMs: 15_000,
  /**
   * How long a node may wait for its batch to be closed while others still work on the job. A check costs as much for a
   * small batch as for a full one: at 15 s an animation of half-second frames was checked three times, in place of once.
   */
  batchMaxAgeMs: 60_000,
  /** A node behind a slow line sends a large frame in this time; a node that was restarted is back in it. */
  handOverMs: 600_000,
  /**
   * A node hears of a failed batch at once, loads its scene and renders four crops again; one that was killed meanwhile is started
   * again. Only a fail waits for this, and only of a node that may appeal: what two verifiers found is wrong in most cases, and
   * its tasks should be back in the queue soon.
   */
  appealMs: 300_000,
  /** Out for an hour after a failed verdict: long enough to hurt, short enough to come back after a mended driver. */
  quarantineMs: 3_600_000,
  /** A trial takes two seconds of a processor: most are over long before, in what rendering leaves. */
  trialGivesWayMs: 30_000,
  /**
   * One batch in fifty: at most four more tiles to render and check for every fifty batches, and a verifier that passes
   * everything meets a wrong one after a hundred batches on average (docs/decisions/canaries.md).
   */
  canaryShare: 0.02,
  /** Short enough that a token which got lost is soon worth nothing; signing in costs two requests. */
  passMs: 900_000,
} as const;
