/** What an auditor asks for beside the usual: the receipts under a root, and the files of a scene. */
import { FarmError } from '../../protocol/errors.ts';
import type { BatchId, Digest, JobId } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { CoordinatorContext } from '../context.ts';
import { batchReceipts } from '../verification/build-challenge.ts';

/** Empty for a batch that was not paid: its tasks went back to the queue, and to other receipts. */
export async function receiptsOfBatch(
  context: CoordinatorContext,
  jobId: JobId,
  batchId: BatchId,
): Promise<Receipt[]> {
  const row = await context.db
    .selectFrom('batches')
    .select('id')
    .where('id', '=', batchId)
    .where('job_id', '=', jobId)
    .executeTakeFirst();
  if (row === undefined) throw new FarmError('NOT_FOUND', `there is no batch ${batchId} of a job ${jobId}`);
  return await batchReceipts(context, batchId);
}

export async function sceneManifest(context: CoordinatorContext, scene: Digest): Promise<SceneManifest> {
  const row = await context.db
    .selectFrom('scenes')
    .select('manifest')
    .where('digest', '=', scene)
    .executeTakeFirst();
  if (row === undefined) throw new FarmError('NOT_FOUND', `there is no scene ${scene}`);
  return row.manifest;
}
