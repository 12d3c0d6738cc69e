/** What an operator signs for its verifier, sent by whoever pays the gas: stake by permit, and a place in the list. */
import type { Bytes32 } from '../../protocol/ids.ts';
import type { ChainWrite, FarmChain } from './chain.ts';
import {
  addressOf,
  type PrivateKey,
  registryDomain,
  signPermit,
  signStakeTerms,
  signVerifierTerms,
  tokenDomain,
} from './signing.ts';

/** The chain's clock can be days ahead of the machine's: the embedded one's is moved when batches are aged. */
const PERMIT_LASTS_S = 86_400;

export type VerifierKeys = {
  verifierKey: PrivateKey;
  /** Of the account whose stake answers for it. */
  operatorKey: PrivateKey;
  /** Head of its secret chain (secret-chain.ts). */
  head: Bytes32;
};

/** Puts down stake of the operator's account. Throws CHAIN_REVERTED where it has too little of the token. */
export async function stakeByPermit(
  chain: FarmChain,
  { operatorKey }: VerifierKeys,
  { amount, nonce }: { amount: bigint; nonce: bigint },
  signal: AbortSignal,
): Promise<ChainWrite> {
  const { chainId, tokenAddress, registryAddress } = chain;
  const operator = addressOf(operatorKey);
  const permit = signPermit(
    tokenDomain(chainId, tokenAddress),
    {
      ...{ owner: operator, spender: registryAddress, value: amount },
      nonce: await chain.permitNonce(operator, signal),
      deadline: (await chain.timeS(signal)) + PERMIT_LASTS_S,
    },
    operatorKey,
  );
  const terms = { operator, amount, nonce };
  const signature = signStakeTerms(registryDomain(chainId, registryAddress), terms, operatorKey);
  return await chain.stakeFor(terms, signature, permit, signal);
}

/** Has the verifier join; it can be activated once the delay of the registry is over. */
export async function joinList(
  chain: FarmChain,
  { verifierKey, operatorKey, head }: VerifierKeys,
  nonce: bigint,
  signal: AbortSignal,
): Promise<ChainWrite> {
  const { chainId, registryAddress } = chain;
  const terms = { verifier: addressOf(verifierKey), operator: addressOf(operatorKey), head, nonce };
  const signature = signVerifierTerms(registryDomain(chainId, registryAddress), terms, operatorKey);
  return await chain.joinVerifier(terms, signature, signal);
}
