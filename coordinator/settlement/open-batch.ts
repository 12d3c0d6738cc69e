/** The batch that a node is filling in a job: one for tiles, one for finishing. */
import { sql } from 'kysely';
import { newIdBody } from '../../platform/new-id.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, BatchId, Bytes32, JobId, NodeId } from '../../protocol/ids.ts';
import { type LeaseGrant, MAX_RECEIPTS } from '../../protocol/messages.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { FarmQuery } from '../database/schema.ts';
import { chainKey, freeLanes } from './lanes.ts';

export type OpenBatchKey = { jobId: JobId; nodeId: NodeId; address: string; kind: TaskKind };

/** The id of the open batch, made where there is none. Unique indexes keep two from being made, or in one lane, at once. */
export async function openBatch(db: FarmQuery, key: OpenBatchKey, now: Date): Promise<BatchId> {
  const [open] = await openBatches(db, [key], now);
  if (open === undefined) throw new Error(`no batch was opened for ${key.nodeId} in ${key.jobId}`);
  return open.id;
}

/**
 * Two coordinators may give the same lane away in the same moment, and a batch can be closed as soon as it is opened: whoever was
 * later looks again. A node that begins several at once gets one of them each time.
 */
const MAX_OPENINGS = 10;

/**
 * The open batches of several keys, in their order, made where there are none. `lock`: nobody else may add to them, or
 * close them, before this transaction is over.
 */
export async function openBatches(
  db: FarmQuery,
  keys: readonly OpenBatchKey[],
  now: Date,
  { lock }: { lock: boolean } = { lock: false },
): Promise<KeyedBatch[]> {
  for (let opening = 0; opening < MAX_OPENINGS; opening++) {
    const open = await findAllOpen(db, keys, lock);
    const missing = keys.filter((key) => !open.has(placeOf(key)));
    if (missing.length === 0) return keys.flatMap((key) => open.get(placeOf(key)) ?? []);
    await addBatches(db, missing, now);
  }
  const [first] = keys;
  throw new FarmError('INTERNAL', `no batch could be opened for ${first?.nodeId} in ${first?.jobId}`);
}

/** One for each node of these: two of a node would get the same lane. Where it is taken by somebody else, or another made the batch, none. */
async function addBatches(db: FarmQuery, keys: readonly OpenBatchKey[], now: Date): Promise<void> {
  const ofNodes = new Map(keys.toReversed().map((key) => [key.address as Address, key]));
  const lanes = await freeLanes(db, [...ofNodes.keys()]);
  const rows = [...ofNodes].flatMap(([address, { jobId, nodeId, kind }]) => {
    const lane = lanes.get(address);
    if (lane === undefined) return [];
    const id = `batch_${newIdBody(now.getTime())}` as BatchId;
    return [{ id, job_id: jobId, node_id: nodeId, node_address: address, kind, ...lane }];
  });
  await sql`
    insert into batches (id, job_id, node_id, node_address, kind, state, opened_at, lane, generation, chain_key)
    select b.id, b.job_id, b.node_id, b.node_address, b.kind, 'open', ${now}, b.lane, b.generation, b.chain_key
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as b(id text, job_id text, node_id text, node_address text, kind text, lane int, generation bigint, chain_key text)
    order by b.job_id, b.node_id, b.kind
    on conflict do nothing`.execute(db);
}

/** A batch and what it goes by on chain, as the database keeps it. */
export type KeyedBatch = { id: BatchId } & Parameters<typeof chainKey>[0];

const placeOf = ({ jobId, nodeId, kind }: Pick<OpenBatchKey, 'jobId' | 'nodeId' | 'kind'>): string =>
  `${jobId} ${nodeId} ${kind}`;

async function findAllOpen(
  db: FarmQuery,
  keys: readonly OpenBatchKey[],
  lock: boolean,
): Promise<Map<string, KeyedBatch>> {
  // Locked in the order of their ids, whoever locks them: two that want the same ones wait for each other in turn.
  const { rows } = await sql<KeyedBatch & { jobId: JobId; nodeId: NodeId; kind: TaskKind }>`
    select b.id, b.chain_key, b.job_id as "jobId", b.node_id as "nodeId", b.kind
    from unnest(${keys.map((key) => key.jobId)}::text[], ${keys.map((key) => key.nodeId)}::text[],
                ${keys.map((key) => key.kind)}::text[]) as k(job_id, node_id, kind)
    join batches b on b.job_id = k.job_id and b.node_id = k.node_id and b.kind = k.kind and b.state = 'open'
    order by b.id ${lock ? sql`for update of b` : sql``}`.execute(db);
  return new Map(rows.map((row) => [placeOf(row), row]));
}

/** What a node has to sign on top of: the leaves so far, in the order they came, and their price. */
export async function batchState(db: FarmQuery, batchId: BatchId): Promise<LeaseGrant['batch']> {
  const batch = await db
    .selectFrom('batches')
    .select(['id', 'chain_key'])
    .where('id', '=', batchId)
    .executeTakeFirstOrThrow();
  const [state] = await batchStates(db, [batch]);
  if (state === undefined) throw new Error(`no state of batch ${batchId}`);
  return state;
}

/** The same for several, in their order. */
export async function batchStates(
  db: FarmQuery,
  batches: readonly KeyedBatch[],
): Promise<LeaseGrant['batch'][]> {
  const ids = batches.map(({ id }) => id);
  const { rows } = await sql<{ batch_id: BatchId; leaf: Bytes32 | null; price: string }>`
    select batch_id, leaf, price from tasks
    where batch_id = any(${ids}::text[]) order by batch_id, batch_index`.execute(db);
  const states = new Map(
    batches.map((batch): [BatchId, LeaseGrant['batch']] => [
      batch.id,
      { batchId: batch.id, batchKey: chainKey(batch), leaves: [], amount: 0n },
    ]),
  );
  for (const { batch_id: id, leaf, price } of rows) {
    const state = states.get(id);
    if (state === undefined) continue;
    if (leaf !== null) state.leaves.push(leaf);
    state.amount += BigInt(price);
  }
  return ids.flatMap((id) => states.get(id) ?? []);
}

/**
 * Closes batches that are full, old enough, or can grow no further: nothing of their kind is queued in the job, or
 * to come in frames that have not begun, and their node works on none. A closed batch goes on chain. Returns how many were closed.
 * `maxAgeMs` null: their age is not looked at, which costs a look at each.
 */
export async function closeBatches(db: FarmQuery, now: Date, maxAgeMs: number | null): Promise<number> {
  const before = maxAgeMs === null ? null : new Date(now.getTime() - maxAgeMs);
  // What can still be handed out is asked once per job and kind: a farm has far more batches than these, which are looked at
  // where nothing can.
  const result = await sql`
    with growing as materialized (
      select g.job_id, g.kind, exists (
        select 1 from tasks t where t.job_id = g.job_id and t.state = 'queued' and t.kind = g.kind)
        or exists (
          select 1 from jobs j
          where j.id = g.job_id and j.state = 'active' and j.frames_begun < j.frames_total) as queued
      from (select distinct job_id, kind from batches where state = 'open' and receipts > 0) g)
    update batches b set state = 'closed'
    from growing g
    where b.state = 'open' and b.receipts > 0 and g.job_id = b.job_id and g.kind = b.kind
      and (${before}::timestamptz is not null or not g.queued) and (
      b.receipts >= ${MAX_RECEIPTS}
      or b.opened_at < ${before}::timestamptz
      or (not g.queued and not exists (
        select 1 from tasks t where t.state = 'leased' and t.node_id = b.node_id
          and t.job_id = b.job_id and t.kind = b.kind)))`.execute(db);
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
