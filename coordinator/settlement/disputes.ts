/** Doubts of the farm's own account: the bond, the signature, and what becomes of them. */
import type { ChainBatch, DisputeTerms, SignedPermit } from '../../platform/chain/chain.ts';
import {
  addressOf,
  escrowDomain,
  type PrivateKey,
  signDispute,
  signPermit,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { DisputeRequest } from '../../protocol/http.ts';
import type { BatchId, Signature } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { BatchRow } from './apply-outcome.ts';
import { fundTestAccount } from './job-escrow.ts';
import { chainKey } from './lanes.ts';

/** Used in the same second; but an embedded chain's clock can be days ahead of this one's. */
const PERMIT_LASTS_S = 365 * 86_400;

/**
 * Notes that the farm's account disputes the judgement of a batch: the one there is, or `outcome` should it come.
 * Throws NOT_FOUND, and NOT_DISPUTABLE for what is settled, or neither passed nor failed.
 */
export async function disputeBatch(
  { db }: CoordinatorContext,
  id: BatchId,
  { outcome }: DisputeRequest,
): Promise<void> {
  const batch = await db.selectFrom('batches').selectAll().where('id', '=', id).executeTakeFirst();
  if (batch === undefined) throw new FarmError('NOT_FOUND', `there is no batch ${id}`);
  const doubted = outcome ?? batch.outcome;
  if (batch.state === 'settled' || doubted === null || doubted === 'inconclusive') {
    const judged = batch.outcome === null ? 'not judged yet' : `judged ${batch.outcome}`;
    throw new FarmError('NOT_DISPUTABLE', `batch ${id} is ${batch.state}, ${judged}`, {
      kept: 'nothing was changed, and no bond was taken',
    });
  }
  await db
    .updateTable('batches')
    .set({ doubted })
    .where('id', '=', id)
    .where('state', '<>', 'settled')
    .execute();
}

/** Puts the bond down and calls a committee. What the escrow refuses for good is said, and the judgement stands. */
export async function raiseDispute(
  context: CoordinatorContext,
  batch: BatchRow,
  onChain: Pick<ChainBatch, 'seed' | 'outcome'>,
  signal: AbortSignal,
): Promise<void> {
  const { chain, secrets, clock, events, db } = context;
  const { seed, outcome } = onChain;
  if (seed === null || outcome === null) throw new Error(`batch ${batch.id} is not judged`);
  const key = secrets.requesterKey as string as PrivateKey;
  const disputer = addressOf(key);
  const { disputeBond: bond } = await chain.terms(signal);
  const terms = { batchKey: chainKey(batch), seed, disputer, bond };
  await fundTestAccount(context, disputer, bond, signal);
  const nowS = Math.floor(clock.now() / 1_000);
  const permit = signPermit(
    tokenDomain(chain.chainId, chain.tokenAddress),
    {
      ...{ owner: disputer, spender: chain.escrowAddress, value: bond, deadline: nowS + PERMIT_LASTS_S },
      nonce: await chain.permitNonce(disputer, signal),
    },
    key,
  );
  const signature = signDispute(escrowDomain(chain.chainId, chain.escrowAddress), terms, key);
  const reason = await putBond(context, { terms, signature, permit }, signal);
  if (reason === null) return;
  const { id: batchId, node_id: nodeId } = batch;
  await db.updateTable('batches').set({ doubted: null }).where('id', '=', batchId).execute();
  const event = { type: 'batch.undisputed' as const, batchId, nodeId, reason };
  await events.add(db, batch.job_id, event, new Date(clock.now()));
}

type SignedDispute = { terms: DisputeTerms; signature: Signature; permit: SignedPermit };

/** Puts what was signed on chain. Null when it is there; else why the escrow takes none of it. */
export async function putBond(
  { chain }: Pick<CoordinatorContext, 'chain'>,
  { terms, signature, permit }: SignedDispute,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    await chain.dispute(terms, signature, permit, signal);
    return null;
  } catch (error) {
    if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
    // Its answer was lost and it has happened after all: that is seen in the next round.
    if ((await chain.batch(terms.batchKey, signal)).state !== 'judged') return null;
    return error.details?.['error'] === 'CommitteeTooSmall'
      ? 'a committee takes three verifiers of other operators, and there are not so many'
      : error.message;
  }
}
