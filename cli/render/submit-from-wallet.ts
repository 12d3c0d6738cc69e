/**
 * A job that one's own wallet pays for. What is signed is made here from the terms, not taken from the farm as it comes:
 * so it can be nothing but a job in the farm's escrow and a permit of exactly its price.
 */
import { jobKey } from '../../platform/chain/keys.ts';
import {
  addressOf,
  escrowDomain,
  type PrivateKey,
  signOpenJob,
  signPermit,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { pause } from '../../platform/wait.ts';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { FarmInfo } from '../../protocol/http.ts';
import type { JobRequest, JobView } from '../../protocol/job.ts';
import type { WalletQuote, WalletSignatures } from '../../protocol/wallet.ts';
import type { FarmClient } from '../farm-client.ts';
import type { Terminal } from '../terminal.ts';
import { formatTokens } from './parse-options.ts';

/** Another job of the same wallet is in the escrow by then, unless the chain is away. */
const PATIENCE_MS = 60_000;
const ASK_AGAIN_MS = 1_000;

type Client = Pick<FarmClient, 'info' | 'quote' | 'acceptQuote'>;

export async function submitFromWallet(
  client: Client,
  request: JobRequest,
  key: PrivateKey,
  terminal: Pick<Terminal, 'say' | 'now' | 'signal'>,
): Promise<JobView> {
  const { signal } = terminal;
  const info = await client.info(signal);
  const wallet = addressOf(key);
  const untilMs = terminal.now() + PATIENCE_MS;
  for (;;) {
    const quote = await client.quote({ job: request, wallet }, signal);
    const { job, terms } = quote;
    requireWithin(request, terms.budget);
    const until = new Date(terms.deadline * 1_000).toISOString().slice(0, 10);
    terminal.say(
      `signing with ${wallet}: ${formatTokens(terms.budget)} ${info.tokenSymbol} to the escrow ${info.escrow} on chain ${info.chainId}, until ${until}`,
    );
    const signatures = signQuote(info, quote, key);
    try {
      return await client.acceptQuote(job, { job: request, wallet, terms, signatures }, signal);
    } catch (error) {
      if (!isFarmError(error, 'QUOTE_STALE') || terminal.now() >= untilMs) throw error;
      terminal.say(`${error.message}; asking for another quote`);
      await pause(ASK_AGAIN_MS, signal);
      signal.throwIfAborted();
    }
  }
}

/** Only what is read here is signed: name, price and times of the quote, addresses of the farm. */
function signQuote(info: FarmInfo, { job, terms }: WalletQuote, key: PrivateKey): WalletSignatures {
  const requester = addressOf(key);
  const { budget, maxTaskPrice, deadline, permitNonce: nonce } = terms;
  const { chainId, escrow: spender, token } = info;
  const openJob = { requester, jobKey: jobKey(job), budget, maxTaskPrice, deadline };
  const permit = { owner: requester, spender, value: budget, nonce, deadline };
  return {
    openJob: signOpenJob(escrowDomain(chainId, spender), openJob, key),
    permit: signPermit(tokenDomain(chainId, token), permit, key).signature,
  };
}

/** A farm refuses a budget that is too low; one that does not is not to be trusted with a signature. */
function requireWithin({ budget }: JobRequest, price: bigint): void {
  if (budget === undefined || price <= BigInt(budget)) return;
  throw new FarmError('BUDGET_TOO_LOW', `the farm asks for ${price} units, the budget is ${budget}`, {
    kept: 'nothing was signed, nothing was submitted',
  });
}
