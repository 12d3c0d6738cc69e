/** What an operator signs to appeal for one of its nodes: the dispute, and the permit of its bond. */
import type { Appeal, FailedBatch, Welcome } from '../../protocol/messages.ts';
import { addressOf, escrowDomain, type PrivateKey, signDispute, signPermit, tokenDomain } from './signing.ts';

/**
 * As long as the enrolment's: an embedded chain's clock can be days ahead, and one that forgets its last second is told
 * again. Nobody gains by a permit that is left over: the escrow pulls only what its owner has signed for besides.
 */
const PERMIT_LASTS_S = 365 * 24 * 3_600;

type Failed = Pick<FailedBatch, 'bond' | 'permitNonce'> & {
  challenge: Pick<FailedBatch['challenge'], 'batchKey' | 'seed'>;
};

/** Good for this judgement of this batch with this bond and for nothing else. */
export function signAppeal(
  { chainId, escrow, token }: Pick<Welcome, 'chainId' | 'escrow' | 'token'>,
  { challenge, bond, permitNonce }: Failed,
  operatorKey: PrivateKey,
  nowS: number,
): NonNullable<Appeal['dispute']> {
  const { batchKey, seed } = challenge;
  const disputer = addressOf(operatorKey);
  const deadline = nowS + PERMIT_LASTS_S;
  const permit = { owner: disputer, spender: escrow, value: bond, nonce: permitNonce, deadline };
  return {
    ...{ disputer, bond },
    signature: signDispute(escrowDomain(chainId, escrow), { batchKey, seed, disputer, bond }, operatorKey),
    permit: { nonce: permitNonce, ...signPermit(tokenDomain(chainId, token), permit, operatorKey) },
  };
}
