/** A job's money: into the escrow before any work, what is left of it back at the end. */
import type { Selectable } from 'kysely';
import type { ChainJob, OpenJobTerms, SignedPermit } from '../../platform/chain/chain.ts';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import {
  addressOf,
  escrowDomain,
  type PrivateKey,
  signOpenJob,
  signPermit,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Signature } from '../../protocol/ids.ts';
import { keyOf } from '../accounts/account-keys.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmTables } from '../database/schema.ts';
import { endEmptyBatches } from './open-batch.ts';

export type JobRow = Selectable<FarmTables['jobs']>;

/**
 * Opens the escrow of a job unless the chain has it already, then lets the job begin. Who pays signs terms and permit, so
 * the transaction can pull exactly this budget for exactly this job.
 */
export async function openEscrow(
  context: CoordinatorContext,
  job: JobRow,
  signal: AbortSignal,
): Promise<void> {
  const { chain, db, clock, events } = context;
  const key = jobKey(job.id);
  let txHash: string | null = null;
  const onChain = await chain.job(key, signal);
  if (onChain.state === 'none') {
    const { terms, signature, permit } = await signedTerms(context, job, signal);
    const write = await chain.openJob(terms, signature, permit, signal);
    // What a wallet signed is good once: a chain that forgot it could not be given it again.
    if (job.wallet_terms !== null) await chain.waitUntilDurable(write.blockNumber, signal);
    else await chain.waitUntilFunded(write.blockNumber, signal);
    txHash = write.txHash;
  } else if (job.requester !== null) requireOurs(job, job.requester, onChain);
  const now = new Date(clock.now());
  await db.transaction().execute(async (tx) => {
    const opened = await tx
      .updateTable('jobs')
      .set((eb) => ({
        escrow: 'open',
        state: eb.case().when('state', '=', 'opening').then('active').else(eb.ref('state')).end() as never,
      }))
      .where('id', '=', job.id)
      .where('escrow', '=', 'none')
      .returning('id')
      .executeTakeFirst();
    if (opened !== undefined) await events.add(tx, job.id, { type: 'job.funded', txHash }, now);
  });
}

type SignedTerms = { terms: OpenJobTerms; signature: Signature; permit: SignedPermit };

/** With what a wallet signed, or signed now for an account whose key is here. */
async function signedTerms(
  context: CoordinatorContext,
  job: JobRow,
  signal: AbortSignal,
): Promise<SignedTerms> {
  const { chain } = context;
  const budget = BigInt(job.quote);
  const deadline = Math.floor(job.deadline_at.getTime() / 1000);
  const termsFor = (requester: Address): OpenJobTerms => {
    return { requester, jobKey: jobKey(job.id), budget, maxTaskPrice: BigInt(job.max_task_price), deadline };
  };
  if (job.wallet_terms !== null && job.requester !== null) {
    const { openJob: signature, permit } = job.wallet_terms.signatures;
    await fundTestAccount(context, job.requester, budget, signal);
    const terms = termsFor(job.requester);
    return { terms, signature, permit: { value: budget, deadline, signature: permit } };
  }
  const key = await payingKey(context, job);
  const requester = addressOf(key);
  await fundTestAccount(context, requester, budget, signal);
  const terms = termsFor(requester);
  const permit = signPermit(
    tokenDomain(chain.chainId, chain.tokenAddress),
    {
      owner: requester,
      spender: chain.escrowAddress,
      value: budget,
      nonce: await chain.permitNonce(requester, signal),
      deadline,
    },
    key,
  );
  const signature = signOpenJob(escrowDomain(chain.chainId, chain.escrowAddress), terms, key);
  return { terms, signature, permit };
}

/** Of the account that was said to pay when the job was taken: no other may in its place. */
async function payingKey({ secrets, db }: CoordinatorContext, job: JobRow): Promise<PrivateKey> {
  if (job.requester === null) return secrets.requesterKey as string as PrivateKey;
  const key = await keyOf({ secrets }, db, job.account);
  if (key !== null && addressOf(key) === job.requester) return key;
  throw new FarmError(
    'ACCOUNT_KEY_LOCKED',
    `the account ${job.account} has not the key of ${job.requester}`,
    {
      kept: 'the job waits, no money moved',
    },
  );
}

/** Who knows a job's name before it is opened can open one of that name with less money in it, or with nobody's. */
function requireOurs(job: JobRow, requester: Address, onChain: ChainJob): void {
  const same =
    onChain.requester === requester &&
    onChain.budget >= BigInt(job.quote) &&
    onChain.maxTaskPrice === BigInt(job.max_task_price) &&
    // Later than this nothing is paid: nodes would work for nothing.
    onChain.deadline >= Math.floor(job.deadline_at.getTime() / 1_000);
  if (same) return;
  throw new FarmError(
    'CHAIN_REVERTED',
    `a job of this name was opened by ${onChain.requester} with ${onChain.budget} units, not with what ${requester} signed`,
    { kept: 'nothing was rendered' },
  );
}

/** Closes the escrow of an ended job whose batches are all settled; the rest goes back to the artist's account. */
export async function closeEscrow(
  context: CoordinatorContext,
  job: JobRow,
  signal: AbortSignal,
): Promise<void> {
  const { chain, db, clock, events } = context;
  const key = jobKey(job.id);
  let onChain = await chain.job(key, signal);
  if (onChain.state === 'open') {
    const write = await chain.closeJob(key, signal);
    await chain.waitUntilDurable(write.blockNumber, signal);
    onChain = await chain.job(key, signal);
  }
  if (onChain.state === 'open')
    throw new FarmError('CHAIN_UNAVAILABLE', `the chain forgot that job ${job.id} was closed`);
  if (onChain.state === 'closed' && (await chain.credit(onChain.requester, signal)) > 0n) {
    await chain.withdrawFor(onChain.requester, signal);
  }
  const spent = onChain.released.toString();
  const refunded = onChain.refunded.toString();
  await db.transaction().execute(async (tx) => {
    const closed = await tx
      .updateTable('jobs')
      .set({ escrow: 'closed', spent, refunded })
      .where('id', '=', job.id)
      .where('escrow', '<>', 'closed')
      .returning('id')
      .executeTakeFirst();
    if (closed === undefined) return;
    await endEmptyBatches(tx, job.id);
    await events.add(tx, job.id, { type: 'job.closed', spent, refunded }, new Date(clock.now()));
  });
}

/**
 * The embedded chain has test money only: an account is given what it is about to spend. Elsewhere nobody is given
 * anything; what is not there the escrow refuses.
 */
export async function fundTestAccount(
  context: CoordinatorContext,
  requester: ReturnType<typeof addressOf>,
  budget: bigint,
  signal: AbortSignal,
): Promise<void> {
  const { chain } = context;
  if (chain.chainId !== EMBEDDED_CHAIN_ID) return;
  const balance = await chain.tokenBalance(requester, signal);
  if (balance < budget) await chain.mintTestTokens(requester, budget - balance, signal);
}
