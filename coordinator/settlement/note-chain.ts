/** What the chain says of a batch, written down: verifiers, nodes and people are answered from the database. */
import type { ChainBatch } from '../../platform/chain/chain.ts';
import { inTransaction } from '../../platform/database/in-transaction.ts';
import { assertNever } from '../../protocol/errors.ts';
import type { FarmEvent } from '../../protocol/events.ts';
import type { Address, Digest } from '../../protocol/ids.ts';
import type { BatchState } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import type { BatchRow } from './apply-outcome.ts';
import { chainKey } from './lanes.ts';
import { whyFailed, whyUnclear } from './quarantine.ts';

/** True when something was noted that was not known. What is settled or expired is noted by applying it. */
export async function noteChain(
  context: CoordinatorContext,
  batch: BatchRow,
  onChain: ChainBatch,
): Promise<boolean> {
  const state = noted(onChain);
  if (state === null) return false;
  const { seed } = onChain;
  const anew = batch.seed !== seed;
  // Whose secret a draw needs is found out apart (findDrawer): it follows from a block, not from the batch.
  const asked = state === 'committed' ? (batch.state === 'committed' ? batch.asked : []) : onChain.asked;
  if (state === batch.state && !anew && sameList(asked, batch.asked)) return false;
  const judged = state === 'judged' ? onChain : null;
  const changes = {
    ...{ state, seed, outcome: judged?.outcome ?? null, agreed: judged?.agreed ?? false },
    evidence: judged && evidenceOf(judged),
  };
  const now = new Date(context.clock.now());
  const moved = state !== batch.state;
  const event = moved ? await eventOf(context, { ...batch, ...changes }, onChain) : null;
  // Together, so that what was noted was told, too.
  await inTransaction(context.db, async (tx) => {
    const noted = await tx
      .updateTable('batches')
      .set({
        ...changes,
        asked: JSON.stringify(asked),
        ...(anew && { drawn_at: seed === null ? null : now, withheld: null }),
        ...((anew || moved) && { judged_at: judged === null ? null : now }),
      })
      .where('id', '=', batch.id)
      .where('state', '<>', 'settled')
      .returning('id')
      .executeTakeFirst();
    if (noted !== undefined && event !== null) await context.events.add(tx, batch.job_id, event, now);
  });
  return true;
}

/** Notes whose secrets the draws need, where the block is there that they follow from. Whether anything was noted. */
export async function findDrawers(
  { chain, db }: CoordinatorContext,
  batches: readonly BatchRow[],
  signal: AbortSignal,
): Promise<boolean> {
  if (batches.length === 0) return false;
  const keys = batches.map(chainKey);
  await chain.waitUntilDrawable(keys, signal);
  const drawers = await chain.drawersOf(keys, signal);
  let noted = false;
  for (const [index, { id }] of batches.entries()) {
    const drawer = drawers[index];
    if (drawer == null) continue;
    await db
      .updateTable('batches')
      .set({ asked: JSON.stringify([drawer]) })
      .where('id', '=', id)
      .where('state', '=', 'committed')
      .execute();
    noted = true;
  }
  return noted;
}

/** It follows from another block now. */
export async function forgetDrawer({ db }: CoordinatorContext, batch: BatchRow): Promise<void> {
  await db
    .updateTable('batches')
    .set({ asked: '[]' })
    .where('id', '=', batch.id)
    .where('state', '=', 'committed')
    .execute();
}

/** The blob that the deciding word signs for. */
export function evidenceOf({ evidence }: Pick<ChainBatch, 'evidence'>): Digest | null {
  return evidence && (evidence.slice('0x'.length) as Digest);
}

function noted({ state }: Pick<ChainBatch, 'state'>): BatchState | null {
  switch (state) {
    // A chain that forgot the batch is given it again; what is known here is from before and wrong.
    case 'none':
      return 'closed';
    case 'committed':
    case 'drawn':
    case 'second':
    case 'committee':
    case 'judged':
      return state;
    case 'settled':
    case 'expired':
      return null;
    default:
      return assertNever(state);
  }
}

async function eventOf(
  context: CoordinatorContext,
  batch: BatchRow,
  onChain: ChainBatch,
): Promise<FarmEvent | null> {
  const { id: batchId, node_id: nodeId, receipts, outcome, agreed } = batch;
  if (batch.state === 'committed') return { type: 'batch.committed', batchId, nodeId, receipts };
  if (batch.state === 'committee') return disputeOf(batch, onChain);
  if (batch.state !== 'judged' || outcome === null) return null;
  const reason =
    outcome === 'pass'
      ? ''
      : await (outcome === 'fail' ? whyFailed(context, batch) : whyUnclear(context, batch));
  return { type: 'batch.judged', batchId, nodeId, outcome, agreed, reason };
}

/** Also of a dispute that never passed through this farm; null where two verifiers contradicted each other. */
function disputeOf(
  { id: batchId, node_id: nodeId }: BatchRow,
  { disputer, outcome, operator }: ChainBatch,
): FarmEvent | null {
  if (disputer === null || outcome === null) return null;
  const appeal = disputer === operator;
  return { type: 'batch.disputed', batchId, nodeId, outcome, disputer, ...(appeal && { appeal }) };
}

function sameList(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every((one, index) => one === b[index]);
}
