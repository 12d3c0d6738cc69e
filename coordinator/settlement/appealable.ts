/** Whether a failed batch can be appealed, and whether what a node signed is an appeal of it. Pure. */
import type { ChainBatch, ChainTerms, DisputeTerms, SignedPermit } from '../../platform/chain/chain.ts';
import {
  recoverDisputeSigner,
  recoverPermitSigner,
  type SigningDomain,
} from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Signature } from '../../protocol/ids.ts';
import type { Appeal } from '../../protocol/messages.ts';

/** As in the contract: below three, a majority would be everybody or one. */
const SMALLEST_COMMITTEE = 3;

const KEPT = 'nothing was changed, and no bond was taken';

type Judged = Pick<ChainBatch, 'state' | 'seed' | 'outcome' | 'last' | 'first' | 'second'>;

/**
 * Whether a committee may still overturn this fail. The list is counted, not drawn from: of operators with several
 * verifiers, and of who joined after the commit, the escrow has the last word.
 */
export function isAppealable(onChain: Judged, active: readonly Address[]): boolean {
  if (onChain.state !== 'judged' || onChain.outcome !== 'fail' || onChain.last || onChain.seed === null)
    return false;
  const spoke = [onChain.first?.verifier, onChain.second?.verifier];
  return active.filter((one) => !spoke.includes(one)).length >= SMALLEST_COMMITTEE;
}

/**
 * How long an answer is taken: the farm's own time from when it noted the judgement, or what is left of the escrow's
 * window, whichever is longer. 0 or less: it is over.
 */
export function appealLeftMs(
  judged: { atMs: number; sinceS: number },
  now: { ms: number; chainS: number },
  { appealMs, disputeWindowS }: { appealMs: number; disputeWindowS: number },
): number {
  const ownMs = judged.atMs + appealMs - now.ms;
  const escrowMs = (judged.sinceS + disputeWindowS - now.chainS) * 1_000;
  return disputeWindowS === 0 ? ownMs : Math.max(ownMs, escrowMs);
}

type AppealDomains = { escrow: SigningDomain; token: SigningDomain };

type SignedAppeal = { terms: DisputeTerms; signature: Signature; permit: SignedPermit };

/** What a message's dispute says, put together for the escrow. */
export function termsOf(
  batchKey: DisputeTerms['batchKey'],
  seed: DisputeTerms['seed'],
  { disputer, bond, signature, permit }: NonNullable<Appeal['dispute']>,
): SignedAppeal {
  const { value, deadline } = permit;
  return {
    terms: { batchKey, seed, disputer, bond },
    signature,
    permit: { value, deadline, signature: permit.signature },
  };
}

/**
 * Throws MESSAGE_INVALID, with what is wrong, unless this is what the operator of the batch has to sign: for nothing else
 * is anybody's money touched.
 */
export function requireSignedAppeal(
  { terms, signature, permit }: SignedAppeal,
  nonce: bigint,
  now: { permitNonce: bigint; chainS: number },
  batch: Pick<ChainBatch, 'operator'> & Pick<ChainTerms, 'disputeBond'>,
  { escrow, token }: AppealDomains,
): void {
  const { disputer, bond } = terms;
  if (disputer !== batch.operator)
    throw invalid(`the batch is one of ${batch.operator}, whose bond it takes, not of ${disputer}`);
  if (bond !== batch.disputeBond || permit.value !== bond)
    throw invalid(`a dispute costs ${batch.disputeBond} units, signed were ${bond} and ${permit.value}`);
  if (nonce !== now.permitNonce)
    throw invalid(`the permit has the nonce ${nonce}, the token awaits ${now.permitNonce}: sign it again`);
  if (permit.deadline <= now.chainS) throw invalid('the permit of the bond has run out');
  if (recoverDisputeSigner(escrow, terms, signature) !== disputer)
    throw invalid(`the dispute is not signed by ${disputer}`);
  const { value, deadline } = permit;
  const owned = { owner: disputer, spender: escrow.verifyingContract, value, nonce, deadline };
  if (recoverPermitSigner(token, owned, permit.signature) !== disputer)
    throw invalid(`the permit of the bond is not signed by ${disputer}`);
}

function invalid(what: string): FarmError {
  return new FarmError('MESSAGE_INVALID', what, { kept: KEPT });
}
