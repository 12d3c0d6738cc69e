/** Pictures that can be looked at while they are checked. */
import { sql } from 'kysely';
import { toJson } from '../../platform/json.ts';
import type { BatchId } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { FarmQuery } from '../database/schema.ts';

/** Shows the pictures of delivered finish or frame tasks. */
export async function showFrames(tx: FarmQuery, receipts: readonly Receipt[]): Promise<void> {
  const shown = receipts.filter((receipt) => receipt.kind !== 'render');
  if (shown.length === 0) return;
  await sql`
    update frames f set state = 'unverified', picture = r."pictureDigest", extra_files = r."extraFilesDigest"
    from jsonb_to_recordset(${toJson(shown)}::jsonb) 
      as r("jobId" text, frame int, "pictureDigest" text, "extraFilesDigest" text)
    where f.job_id = r."jobId" and f.frame = r.frame and f.state = 'pending'`.execute(tx);
}

/** Takes the pictures of a batch that did not pass away again. */
export async function withdrawFrames(tx: FarmQuery, batchId: BatchId): Promise<void> {
  await sql`
    update frames f set state = 'pending', picture = null, extra_files = null
    from tasks t
    where t.batch_id = ${batchId} and t.kind <> 'render'
      and f.job_id = t.job_id and f.frame = t.frame and f.state = 'unverified'`.execute(tx);
}
