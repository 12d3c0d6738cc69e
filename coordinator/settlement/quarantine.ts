/** A node that failed a verdict: no more of this job, and no work at all for a while. */
import type { Selectable } from 'kysely';
import { type Comparison, evidenceSchema } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, FarmTables } from '../database/schema.ts';

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
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await tx
    .updateTable('nodes')
    .set({ quarantined_until: new Date(now.getTime() + context.config.quarantineMs), reason })
    .where('id', '=', batch.node_id)
    .execute();
  await context.events.add(
    tx,
    batch.job_id,
    { type: 'node.quarantined', nodeId: batch.node_id, reason },
    now,
  );
}

/** The sentence that the operator, the artist and the node read: which tile, which test, which number. */
export async function whyFailed(context: CoordinatorContext, batch: BatchRow): Promise<string> {
  if (batch.evidence === null) return 'the verdict was fail';
  const chunks: Buffer[] = [];
  for await (const chunk of await context.blobs.read(batch.evidence)) chunks.push(chunk as Buffer);
  const evidence = evidenceSchema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
  const worst = evidence.comparisons.find((comparison) => comparison.outcome === 'fail');
  return worst === undefined ? 'the verdict was fail' : describe(worst);
}

function describe(comparison: Comparison): string {
  const { rect, frame, kind } = comparison;
  const place =
    kind === 'render'
      ? `frame ${frame}, tile at ${rect.x},${rect.y} (${rect.width}x${rect.height})`
      : `finishing frame ${frame}`;
  return `${place}: ${comparison.reason}`;
}
