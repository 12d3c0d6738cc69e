/** Whether what a wallet signed is what the escrow and the token will take. Pure. */

import type { OpenJobTerms } from '../../platform/chain/chain.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import {
  openJobTypedData,
  type PermitTerms,
  permitTypedData,
  recoverOpenJobSigner,
  recoverPermitSigner,
  type SigningDomain,
} from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, JobId } from '../../protocol/ids.ts';
import type { WalletQuote, WalletSignatures, WalletTerms } from '../../protocol/wallet.ts';
import { JOB_LIFETIME_MS } from './jobs.ts';

/** A quote is agreed to this long: its prices and the wallet's nonce are of the moment it was made. */
const QUOTE_LASTS_MS = 3_600_000;

/** Clocks of coordinators that share a farm may differ by this much. */
const CLOCK_SKEW_MS = 60_000;

const kept = 'nothing was submitted, no money moved';

export type SigningDomains = { escrow: SigningDomain; token: SigningDomain };

/** A job, the wallet that pays for it, and the terms. */
export type WalletJob = { id: JobId; wallet: Address; terms: WalletTerms };

export function openJobTermsOf({ id, wallet, terms }: WalletJob): OpenJobTerms {
  const { budget, maxTaskPrice, deadline } = terms;
  return { requester: wallet, jobKey: jobKey(id), budget, maxTaskPrice, deadline };
}

/** The permit is for the escrow, for this budget, and ends with the job. */
export function permitTermsOf({ wallet, terms }: WalletJob, escrow: Address): PermitTerms {
  const { budget, permitNonce, deadline } = terms;
  return { owner: wallet, spender: escrow, value: budget, nonce: permitNonce, deadline };
}

/** What the wallet is asked to sign. */
export function quoteOf(job: WalletJob, domains: SigningDomains): WalletQuote {
  const { id, wallet, terms } = job;
  return {
    job: id,
    wallet,
    terms,
    openJob: openJobTypedData(domains.escrow, openJobTermsOf(job)),
    permit: permitTypedData(domains.token, permitTermsOf(job, domains.escrow.verifyingContract)),
  };
}

/**
 * Throws QUOTE_STALE where the terms are not those of now, WALLET_REFUSED where a signature is not the wallet's over
 * these terms.
 */
export function requireGood(
  job: WalletJob,
  signatures: WalletSignatures,
  now: { ms: number; budget: bigint; maxTaskPrice: bigint; permitNonce: bigint },
  domains: SigningDomains,
): void {
  const { terms, wallet } = job;
  if (terms.budget !== now.budget || terms.maxTaskPrice !== now.maxTaskPrice) {
    throw stale(`the job costs ${now.budget} units now, ${terms.budget} were signed`);
  }
  const ageMs = now.ms - (terms.deadline * 1_000 - JOB_LIFETIME_MS);
  if (ageMs > QUOTE_LASTS_MS || ageMs < -CLOCK_SKEW_MS) {
    throw stale('the deadline that was signed is not that of a quote of the last hour');
  }
  if (terms.permitNonce !== now.permitNonce) {
    throw stale(
      `the wallet's permit has the nonce ${terms.permitNonce}, the token awaits ${now.permitNonce}`,
    );
  }
  requireSigner(
    'the job',
    recoverOpenJobSigner(domains.escrow, openJobTermsOf(job), signatures.openJob),
    wallet,
  );
  const permit = permitTermsOf(job, domains.escrow.verifyingContract);
  requireSigner('the permit', recoverPermitSigner(domains.token, permit, signatures.permit), wallet);
}

function requireSigner(what: string, signer: Address | null, wallet: Address): void {
  if (signer === wallet) return;
  throw new FarmError(
    'WALLET_REFUSED',
    `the signature of ${what} is not that of ${wallet} over the terms of its quote`,
    { kept },
  );
}

function stale(message: string): FarmError {
  return new FarmError('QUOTE_STALE', message, { kept });
}
