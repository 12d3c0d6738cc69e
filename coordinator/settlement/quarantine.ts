/** A node whose batch two verifiers, or a committee, found to be wrong: no more of this job, and no work at all for a while. */
import type { Selectable } from 'kysely';
import type { Comparison } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, FarmTables } from '../database/schema.ts';
import { releaseLeases } from '../scheduling/lost-leases.ts';
import { readEvidence } from '../verification/read-evidence.ts';

type BatchRow = Selectable<FarmTables['batches']>;

export async function quarantine(
  context: CoordinatorContext,
  tx: FarmQuery,
  batch: BatchRow,
  reason: string,
  now: Date,
): Promise<void> {
  await tx
    .insertInto('job_exclusions')
    .values({ job_id: batch.job_id, node_id: batch.node_id, reason })
    // What a person has said is replaced: a verdict cannot be taken back.
    .onConflict((conflict) =>
      conflict
        .columns(['job_id', 'node_id'])
        .doUpdateSet({ reason, set_by: null, set_at: null })
        .where('job_exclusions.set_by', 'is not', null),
    )
    .execute();
  await tx
    .updateTable('nodes')
    .set({ quarantined_until: new Date(now.getTime() + context.config.quarantineMs), reason })
    .where('id', '=', batch.node_id)
    .execute();
  await releaseLeases(context, tx, batch.node_id, `its node is quarantined: ${reason}`, now);
  await context.events.add(
    tx,
    batch.job_id,
    { type: 'node.quarantined', nodeId: batch.node_id, reason },
    now,
  );
}

/** Why nobody could tell, in the verifier's words; empty where it left none. */
export async function whyUnclear(context: CoordinatorContext, batch: BatchRow): Promise<string> {
  if (batch.evidence === null) return '';
  const evidence = await readEvidence(context.blobs, batch.evidence).catch(() => null);
  return evidence?.comparisons.find((comparison) => comparison.outcome === 'inconclusive')?.reason ?? '';
}

/** The sentence that the operator, the artist and the node read: which tile, which test, which number. */
export async function whyFailed(context: CoordinatorContext, batch: BatchRow): Promise<string> {
  if (batch.evidence === null) return 'the verdict was fail';
  const evidence = await readEvidence(context.blobs, batch.evidence).catch(() => null);
  if (evidence === null) return 'the verdict was fail; its evidence cannot be read any more';
  const worst = evidence.comparisons.find((comparison) => comparison.outcome === 'fail');
  return worst === undefined ? 'the verdict was fail' : describe(worst);
}

function describe(comparison: Comparison): string {
  const { rect, frame, kind } = comparison;
  const tile = `frame ${frame}, tile at ${rect.x},${rect.y} (${rect.width}x${rect.height})`;
  const place = { render: tile, finish: `finishing frame ${frame}`, frame: `frame ${frame}` }[kind];
  return `${place}: ${comparison.reason}`;
}
