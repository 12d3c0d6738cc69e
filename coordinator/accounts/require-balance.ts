/** Whether who pays for a job can: asked before it is written down, and answered by the escrow in the end. */
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';

/**
 * On the embedded chain everybody is given what they are about to spend (settlement/job-escrow.ts). `account` null: the
 * farm's own. Throws WALLET_EMPTY.
 */
export async function requireBalance(
  { chain, secrets }: CoordinatorContext,
  account: Address | null,
  budget: bigint,
  signal: AbortSignal,
): Promise<void> {
  if (chain.chainId === EMBEDDED_CHAIN_ID) return;
  const payer = account ?? addressOf(secrets.requesterKey as string as PrivateKey);
  const balance = await chain.tokenBalance(payer, signal);
  if (balance >= budget) return;
  throw new FarmError('WALLET_EMPTY', `${payer} has ${balance} units, this job costs ${budget}`, {
    kept: 'nothing was submitted, no money moved',
    details: { wallet: payer, balance: balance.toString(), quote: budget.toString() },
  });
}
