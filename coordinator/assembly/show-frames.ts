/** Pictures that can be looked at while they are checked. */
import { sql } from 'kysely';
import type { BatchId } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { FarmQuery } from '../database/schema.ts';

/** Shows the picture of a delivered finish or frame task. */
export async function showFrame(tx: FarmQuery, receipt: Receipt): Promise<void> {
  if (receipt.kind === 'render') return;
  await tx
    .updateTable('frames')
    .set({
      state: 'unverified',
      picture: receipt.pictureDigest,
      extra_files: receipt.extraFilesDigest ?? null,
    })
    .where('job_id', '=', receipt.jobId)
    .where('frame', '=', receipt.frame)
    .where('state', '=', 'pending')
    .execute();
}

/** Takes the pictures of a batch that did not pass away again. */
export async function withdrawFrames(tx: FarmQuery, batchId: BatchId): Promise<void> {
  await sql`
    update frames f set state = 'pending', picture = null, extra_files = null
    from tasks t
    where t.batch_id = ${batchId} and t.kind <> 'render'
      and f.job_id = t.job_id and f.frame = t.frame and f.state = 'unverified'`.execute(tx);
}
