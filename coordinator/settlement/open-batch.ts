/** The batch that a node is filling in a job: one for tiles, one for finishing. */
import { sql } from 'kysely';
import { newIdBody } from '../../platform/new-id.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, BatchId, Bytes32, JobId, NodeId } from '../../protocol/ids.ts';
import { type LeaseGrant, MAX_RECEIPTS } from '../../protocol/messages.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { FarmQuery } from '../database/schema.ts';
import { chainKey, freeLane } from './lanes.ts';

export type OpenBatchKey = { jobId: JobId; nodeId: NodeId; address: string; kind: TaskKind };

/** Two coordinators may give the same lane away in the same moment; the one that was later looks again. */
const MAX_TRIES = 10;

/** The id of the open batch, made where there is none. Unique indexes keep two from being made, or in one lane, at once. */
export async function openBatch(db: FarmQuery, key: OpenBatchKey, now: Date): Promise<BatchId> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const open = await findOpen(db, key);
    if (open !== undefined) return open;
    const address = key.address as Address;
    await db
      .insertInto('batches')
      .values({
        id: `batch_${newIdBody(now.getTime())}` as BatchId,
        job_id: key.jobId,
        node_id: key.nodeId,
        node_address: address,
        kind: key.kind,
        state: 'open',
        opened_at: now,
        ...(await freeLane(db, address)),
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  throw new FarmError('INTERNAL', `no batch could be opened for ${key.nodeId} in ${key.jobId}`);
}

async function findOpen(db: FarmQuery, key: OpenBatchKey): Promise<BatchId | undefined> {
  const row = await db
    .selectFrom('batches')
    .select('id')
    .where('job_id', '=', key.jobId)
    .where('node_id', '=', key.nodeId)
    .where('kind', '=', key.kind)
    .where('state', '=', 'open')
    .executeTakeFirst();
  return row?.id;
}

/** What a node has to sign on top of: the leaves so far, in the order they came, and their price. */
export async function batchState(db: FarmQuery, batchId: BatchId): Promise<LeaseGrant['batch']> {
  const rows = await db
    .selectFrom('tasks')
    .select(['leaf', 'price'])
    .where('batch_id', '=', batchId)
    .orderBy('batch_index')
    .execute();
  const batch = await db
    .selectFrom('batches')
    .select(['id', 'chain_key'])
    .where('id', '=', batchId)
    .executeTakeFirstOrThrow();
  return {
    batchId,
    batchKey: chainKey(batch),
    leaves: rows.map((row) => row.leaf).filter((leaf): leaf is Bytes32 => leaf !== null),
    amount: rows.reduce((sum, row) => sum + BigInt(row.price), 0n),
  };
}

/**
 * Closes batches that are full, old enough, or can grow no further: nothing of their kind is queued in the job and
 * their node works on none. A closed batch goes on chain. Returns how many were closed.
 */
export async function closeBatches(db: FarmQuery, now: Date, maxAgeMs: number): Promise<number> {
  const result = await sql`
    update batches b set state = 'closed'
    where b.state = 'open' and b.receipts > 0 and (
      b.receipts >= ${MAX_RECEIPTS}
      or b.opened_at < ${new Date(now.getTime() - maxAgeMs)}
      or not exists (
        select 1 from tasks t where t.job_id = b.job_id and t.kind = b.kind
          and (t.state = 'queued' or (t.state = 'leased' and t.node_id = b.node_id))))`.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}

/** Frees the lanes of batches of ended jobs that nothing was ever put into. */
export async function endEmptyBatches(db: FarmQuery, jobId: JobId): Promise<void> {
  await db
    .updateTable('batches')
    .set({ state: 'settled' })
    .where('job_id', '=', jobId)
    .where('state', '=', 'open')
    .where('receipts', '=', 0)
    .execute();
}
