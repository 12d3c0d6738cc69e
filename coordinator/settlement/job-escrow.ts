/** A job's money: into the escrow before any work, what is left of it back at the end. */
import type { Selectable } from 'kysely';
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
import type { CoordinatorContext } from '../context.ts';
import type { FarmTables } from '../database/schema.ts';
import { endEmptyBatches } from './open-batch.ts';

export type JobRow = Selectable<FarmTables['jobs']>;

/**
 * Opens the escrow of a job unless the chain has it already, then lets the job begin. The managed account signs terms
 * and permit, so the transaction can pull exactly this budget for exactly this job.
 */
export async function openEscrow(
  context: CoordinatorContext,
  job: JobRow,
  signal: AbortSignal,
): Promise<void> {
  const { chain, db, clock, events } = context;
  const key = jobKey(job.id);
  let txHash: string | null = null;
  if ((await chain.job(key, signal)).state === 'none') {
    const requesterKey = context.secrets.requesterKey as string as PrivateKey;
    const requester = addressOf(requesterKey);
    const budget = BigInt(job.quote);
    await fundTestAccount(context, requester, budget, signal);
    const deadline = Math.floor(job.deadline_at.getTime() / 1000);
    const terms = { requester, jobKey: key, budget, maxTaskPrice: BigInt(job.max_task_price), deadline };
    const permit = signPermit(
      tokenDomain(chain.chainId, chain.tokenAddress),
      {
        owner: requester,
        spender: chain.escrowAddress,
        value: budget,
        nonce: await chain.permitNonce(requester, signal),
        deadline,
      },
      requesterKey,
    );
    const signature = signOpenJob(escrowDomain(chain.chainId, chain.escrowAddress), terms, requesterKey);
    const write = await chain.openJob(terms, signature, permit, signal);
    await chain.waitUntilFunded(write.blockNumber, signal);
    txHash = write.txHash;
  }
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

/** The embedded chain has test money only: an account is given what it is about to spend. */
export async function fundTestAccount(
  context: CoordinatorContext,
  requester: ReturnType<typeof addressOf>,
  budget: bigint,
  signal: AbortSignal,
): Promise<void> {
  const balance = await context.chain.tokenBalance(requester, signal);
  if (balance < budget) await context.chain.mintTestTokens(requester, budget - balance, signal);
}
