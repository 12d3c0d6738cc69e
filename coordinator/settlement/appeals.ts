/**
 * Appeals of nodes against fails: taken once for every draw, written down, relayed to the escrow. What is written down is
 * signed, so a chain that forgot it is told again, and the escrow takes it once.
 */
import type { Selectable } from 'kysely';
import type { ChainBatch } from '../../platform/chain/chain.ts';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { escrowDomain, tokenDomain } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, BatchId, Bytes32, NodeId } from '../../protocol/ids.ts';
import { type Appeal, appealSchema } from '../../protocol/messages.ts';
import type { AppealView } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, FarmTables } from '../database/schema.ts';
import { appealLeftMs, isAppealable, requireSignedAppeal, termsOf } from './appealable.ts';
import type { BatchRow } from './apply-outcome.ts';
import { putBond } from './disputes.ts';
import { fundTestAccount } from './job-escrow.ts';
import { chainKey } from './lanes.ts';
import type { Known } from './next-step.ts';

type AppealRow = Selectable<FarmTables['appeals']>;

/** An answer that was taken in the last moment is written down before the money moves, whoever's clock is ahead. */
const GRACE_MS = 10_000;

type Answers = {
  /** Nodes that want to hear of failed batches. */
  listening: ReadonlySet<NodeId>;
  on(
    batch: BatchRow,
    onChain: ChainBatch,
    facts: { active: readonly Address[]; judgedAtMs: number | undefined },
  ): Known['appeal'];
};

/** As people see them. */
export async function appealsOn(
  db: FarmQuery,
  batches: readonly BatchId[],
): Promise<(Pick<AppealRow, 'batch_id' | 'seed'> & { view: AppealView })[]> {
  if (batches.length === 0) return [];
  const rows = await db
    .selectFrom('appeals')
    .selectAll()
    .where('batch_id', 'in', [...batches])
    .execute();
  return rows.map(({ batch_id, seed, dispute, reason, refused }) => {
    return { batch_id, seed, view: { appeals: dispute !== null, reason, refused } };
  });
}

/** What the nodes of these failed batches have said, and who of them is still to be waited for. */
export async function answersTo(
  { db, clock, config }: CoordinatorContext,
  failed: readonly BatchRow[],
): Promise<Answers> {
  if (failed.length === 0) return { listening: new Set(), on: () => 'none' };
  // Before it is read who has answered: an answer of a later moment is seen in the next round.
  const nowMs = clock.now();
  const ids = failed.map(({ id }) => id);
  const rows = await db.selectFrom('appeals').selectAll().where('batch_id', 'in', ids).execute();
  const nodes = await db
    .selectFrom('nodes')
    .select('id')
    .where('id', 'in', [...new Set(failed.map((batch) => batch.node_id))])
    .where('appeals', '=', true)
    .execute();
  const listening = new Set(nodes.map(({ id }) => id));
  return {
    listening,
    on(batch, onChain, { active, judgedAtMs }) {
      const { seed } = onChain;
      const row = rows.find((one) => one.batch_id === batch.id && one.seed === seed);
      if (row !== undefined) return row.dispute !== null && row.refused === null ? 'signed' : 'none';
      if (judgedAtMs === undefined || !listening.has(batch.node_id)) return 'none';
      if (!isAppealable(onChain, active)) return 'none';
      return nowMs < judgedAtMs + config.appealMs + GRACE_MS ? 'awaited' : 'none';
    },
  };
}

/** After a start: no node could answer while the coordinator was away, so each has its full time once more. */
export async function graceAppeals({ db, clock }: CoordinatorContext): Promise<void> {
  await db
    .updateTable('batches')
    .set({ judged_at: new Date(clock.now()) })
    .where('state', '=', 'judged')
    .where('outcome', '=', 'fail')
    .execute();
}

/**
 * Takes a node's answer to a failed batch; the first one to each draw counts, and comes again without harm. Throws
 * UNAUTHORIZED for another's batch, NOT_DISPUTABLE where it is too late, MESSAGE_INVALID where not exactly this appeal was
 * signed, WALLET_EMPTY where the operator has not got the bond.
 */
export async function takeAppeal(
  context: CoordinatorContext,
  from: NodeId,
  { batchId, seed, reason, dispute }: Appeal,
  signal: AbortSignal,
): Promise<void> {
  const { db, clock, log } = context;
  const batch = await db.selectFrom('batches').selectAll().where('id', '=', batchId).executeTakeFirst();
  if (batch === undefined || batch.node_id !== from)
    throw new FarmError('UNAUTHORIZED', `${batchId} is no batch of ${from}`);
  const earlier = await answerTo(context, batchId, seed);
  if (earlier !== undefined) {
    if ((earlier.dispute === null) === (dispute === null)) return;
    throw notNow(batchId, `${from} has answered already: ${earlier.reason}`);
  }
  if (dispute !== null) await requireAppeal(context, batch, { seed, dispute }, signal);
  const inserted = await db
    .insertInto('appeals')
    .values({
      ...{ batch_id: batchId, seed, reason, answered_at: new Date(clock.now()) },
      dispute: dispute && toJson(dispute),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('batch_id')
    .executeTakeFirst();
  if (inserted === undefined) return;
  const appeals = dispute !== null;
  log.info({ batchId, nodeId: from, appeals, reason }, 'a node has answered to a failed batch');
}

async function requireAppeal(
  context: CoordinatorContext,
  batch: BatchRow,
  { seed, dispute }: { seed: Bytes32; dispute: NonNullable<Appeal['dispute']> },
  signal: AbortSignal,
): Promise<void> {
  const { chain, clock, config } = context;
  const onChain = await chain.batch(chainKey(batch), signal);
  // That there are enough for a committee is the escrow's to say: until then somebody may join.
  if (onChain.state !== 'judged' || onChain.outcome !== 'fail' || onChain.last || onChain.seed !== seed) {
    const { state, outcome } = onChain;
    throw notNow(
      batch.id,
      `on chain it is ${state}, ${outcome === null ? 'not judged' : `judged ${outcome}`}`,
    );
  }
  const { disputeBond, disputeWindowS } = await chain.terms(signal);
  const now = { ms: clock.now(), chainS: Math.max(clock.now() / 1_000, await chain.timeS(signal)) };
  const judged = { atMs: batch.judged_at?.getTime() ?? 0, sinceS: onChain.since };
  if (appealLeftMs(judged, now, { appealMs: config.appealMs, disputeWindowS }) <= 0)
    throw notNow(batch.id, 'the time to appeal is over');
  const { disputer, permit } = dispute;
  const domains = {
    escrow: escrowDomain(chain.chainId, chain.escrowAddress),
    token: tokenDomain(chain.chainId, chain.tokenAddress),
  };
  requireSignedAppeal(
    termsOf(chainKey(batch), seed, dispute),
    permit.nonce,
    { permitNonce: await chain.permitNonce(disputer, signal), chainS: now.chainS },
    { operator: onChain.operator, disputeBond },
    domains,
  );
  await requireBond(context, disputer, disputeBond, signal);
}

/** On the embedded chain everybody is given the test money that is about to be spent. */
async function requireBond(
  { chain }: CoordinatorContext,
  disputer: Address,
  bond: bigint,
  signal: AbortSignal,
): Promise<void> {
  if (chain.chainId === EMBEDDED_CHAIN_ID) return;
  const balance = await chain.tokenBalance(disputer, signal);
  // What it has earned is paid out to it first (relayAppeal).
  const credit = await chain.credit(disputer, signal);
  if (balance + credit >= bond) return;
  throw new FarmError('WALLET_EMPTY', `${disputer} has ${balance + credit} units, the bond is ${bond}`, {
    kept: 'nothing was changed; the node asks again until its time is over',
  });
}

/** Puts the bond down and calls a committee. What the escrow refuses for good is said, and the fail stands. */
export async function relayAppeal(
  context: CoordinatorContext,
  batch: BatchRow,
  { seed }: Pick<ChainBatch, 'seed'>,
  signal: AbortSignal,
): Promise<void> {
  const { chain, db, events, clock, log } = context;
  const { id: batchId, node_id: nodeId } = batch;
  const row = seed === null ? undefined : await answerTo(context, batchId, seed);
  if (seed === null || row === undefined || row.dispute === null) return;
  const dispute = appealSchema.shape.dispute.unwrap().parse(row.dispute);
  const { disputer, bond, permit } = dispute;
  await findBond(context, disputer, bond, signal);
  const reason = await putBond(context, termsOf(chainKey(batch), seed, dispute), signal);
  if (reason === null) return;
  // Overtaken by another permit of the same operator: the node is asked for a new one, while there is time.
  if ((await chain.permitNonce(disputer, signal)) !== permit.nonce) {
    log.warn({ batchId, nodeId, reason }, 'an appeal was signed for a permit that is used; asking again');
    await db.deleteFrom('appeals').where('batch_id', '=', batchId).where('seed', '=', seed).execute();
    return;
  }
  await db.transaction().execute(async (tx) => {
    await tx
      .updateTable('appeals')
      .set({ refused: reason })
      .where('batch_id', '=', batchId)
      .where('seed', '=', seed)
      .execute();
    const event = { type: 'batch.undisputed' as const, batchId, nodeId, reason };
    await events.add(tx, batch.job_id, event, new Date(clock.now()));
  });
}

/**
 * Where the operator's account has too little it is paid first what the escrow owes it. On the embedded chain that stays
 * where everybody sees what a node has earned: test money comes by itself.
 */
async function findBond(
  context: CoordinatorContext,
  disputer: Address,
  bond: bigint,
  signal: AbortSignal,
): Promise<void> {
  const { chain } = context;
  if (chain.chainId === EMBEDDED_CHAIN_ID) return await fundTestAccount(context, disputer, bond, signal);
  if ((await chain.tokenBalance(disputer, signal)) >= bond) return;
  if ((await chain.credit(disputer, signal)) > 0n) await chain.withdrawFor(disputer, signal);
}

async function answerTo(
  { db }: Pick<CoordinatorContext, 'db'>,
  batchId: BatchId,
  seed: Bytes32,
): Promise<AppealRow | undefined> {
  return await db
    .selectFrom('appeals')
    .selectAll()
    .where('batch_id', '=', batchId)
    .where('seed', '=', seed)
    .executeTakeFirst();
}

function notNow(batchId: BatchId, why: string): FarmError {
  return new FarmError('NOT_DISPUTABLE', `batch ${batchId} cannot be appealed: ${why}`, {
    kept: 'nothing was changed, and no bond was taken',
  });
}
