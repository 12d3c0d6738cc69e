/**
 * Jobs that are paid from a wallet whose key only its owner has: a quote says what to sign, and the job is written down
 * once both signatures are good. A quote is kept nowhere; what was signed says all of it.
 */
import { escrowDomain, tokenDomain } from '../../platform/chain/signing.ts';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Address, JobId } from '../../protocol/ids.ts';
import type { JobRequest } from '../../protocol/job.ts';
import type { WalletQuote, WalletSignatures, WalletTerms } from '../../protocol/wallet.ts';
import { requireBalance } from '../accounts/require-balance.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { JOB_LIFETIME_MS, newJobId, planRequest, storeJob } from './jobs.ts';
import { quoteOf, requireGood, type SigningDomains } from './judge-signed.ts';
import type { Scenes } from './scenes.ts';

const kept = 'nothing was submitted, no money moved';

/** Nothing is written: who does not agree leaves nothing behind. */
export async function quoteForWallet(
  context: CoordinatorContext,
  scenes: Scenes,
  { job, wallet }: { job: JobRequest; wallet: Address },
  signal: AbortSignal,
): Promise<WalletQuote> {
  const { chain, clock } = context;
  const { plan } = await planRequest(scenes, job, signal);
  await requireBalance(context, wallet, plan.quote, signal);
  const permitNonce = await chain.permitNonce(wallet, signal);
  const nowMs = clock.now();
  const deadline = Math.floor((nowMs + JOB_LIFETIME_MS) / 1_000);
  const terms = { budget: plan.quote, maxTaskPrice: plan.maxTaskPrice, deadline, permitNonce };
  return quoteOf({ id: newJobId(nowMs), wallet, terms }, domainsOf(context));
}

export type Agreed = {
  job: JobRequest;
  wallet: Address;
  terms: WalletTerms;
  signatures: WalletSignatures;
};

/** Writes the job down, once however often the same is sent. Throws QUOTE_STALE, WALLET_REFUSED or WALLET_EMPTY. */
export async function submitSigned(
  context: CoordinatorContext,
  scenes: Scenes,
  id: JobId,
  agreed: Agreed,
  signal: AbortSignal,
): Promise<void> {
  if (await isStored(context, id, agreed)) return;
  const { wallet, terms, signatures } = agreed;
  const planned = await planRequest(scenes, agreed.job, signal);
  const { quote: budget, maxTaskPrice } = planned.plan;
  const permitNonce = await context.chain.permitNonce(wallet, signal);
  const now = { ms: context.clock.now(), budget, maxTaskPrice, permitNonce };
  requireGood({ id, wallet, terms }, signatures, now, domainsOf(context));
  await requireBalance(context, wallet, budget, signal);
  try {
    await storeJob(context, planned, {
      id,
      deadlineAt: new Date(terms.deadline * 1_000),
      requester: wallet,
      walletTerms: { permitNonce: permitNonce.toString(), signatures },
      allow: (tx) => requireUnused(tx, wallet, permitNonce),
    });
  } catch (error) {
    // The same was sent twice at once, and the other one was quicker.
    if (isFarmError(error, 'QUOTE_STALE') && (await isStored(context, id, agreed))) return;
    throw error;
  }
}

/** Whether the same was taken before and its answer was lost. */
async function isStored(
  { db }: CoordinatorContext,
  id: JobId,
  { wallet, signatures }: Agreed,
): Promise<boolean> {
  const row = await db
    .selectFrom('jobs')
    .select(['requester', 'wallet_terms'])
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) return false;
  const stored = row.wallet_terms?.signatures;
  if (
    row.requester === wallet &&
    stored?.openJob === signatures.openJob &&
    stored.permit === signatures.permit
  )
    return true;
  throw new FarmError('QUOTE_STALE', `there is a job ${id} already`, { kept });
}

/** Another job took this permit's place into the escrow since the token was asked. */
async function requireUnused(tx: FarmQuery, wallet: Address, permitNonce: bigint): Promise<void> {
  const open = await tx
    .selectFrom('jobs')
    .select(['id', 'wallet_terms'])
    .where('requester', '=', wallet)
    .where('escrow', '=', 'open')
    .execute();
  const taken = open.find((row) => row.wallet_terms?.permitNonce === permitNonce.toString());
  if (taken === undefined) return;
  throw new FarmError('QUOTE_STALE', `job ${taken.id} has used the permit's nonce ${permitNonce}`, { kept });
}

function domainsOf({ chain }: CoordinatorContext): SigningDomains {
  return {
    escrow: escrowDomain(chain.chainId, chain.escrowAddress),
    token: tokenDomain(chain.chainId, chain.tokenAddress),
  };
}
