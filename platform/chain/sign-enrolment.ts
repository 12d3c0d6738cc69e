/** What a node signs so that the escrow knows it: that it belongs to its operator, and what the operator stakes. */
import { FarmError } from '../../protocol/errors.ts';
import type { Enrol, Register, Welcome } from '../../protocol/messages.ts';
import { EMBEDDED_CHAIN_ID } from './embedded.ts';
import { deviceClassKey } from './keys.ts';
import {
  addressOf,
  type PrivateKey,
  registryDomain,
  signNodeTerms,
  signPermit,
  signStakeTerms,
  tokenDomain,
} from './signing.ts';

export type EnrolKeys = {
  nodeKey: PrivateKey;
  /** The node's own where it is its own operator. */
  operatorKey: PrivateKey;
};

/** Work is paid by the quote; a node asks for nothing beside it. */
const ASK = 0n;

/** A chain that forgets its last second is told again, from the same signature. */
const PERMIT_LASTS_S = 365 * 24 * 3_600;

/**
 * Signs what the farm asks for. Throws MESSAGE_INVALID where it asks for what this node never does: a class that it has
 * not, or stake on a chain where money is money.
 */
export function signEnrolment(
  welcome: Pick<Welcome, 'chainId' | 'registry' | 'token'>,
  enrol: Enrol,
  keys: EnrolKeys,
  { classes, nowS }: { classes: readonly string[]; nowS: number },
): Register {
  const { chainId, registry, token } = welcome;
  const domain = registryDomain(chainId, registry);
  const operator = addressOf(keys.operatorKey);
  const { deviceClass, stake } = enrol;
  if (deviceClass !== null && !classes.includes(deviceClass)) {
    throw new FarmError('MESSAGE_INVALID', `the farm asks to register this node as ${deviceClass}`);
  }
  if (stake > 0n && chainId !== EMBEDDED_CHAIN_ID) {
    throw new FarmError('MESSAGE_INVALID', `the farm asks for a stake of ${stake} on chain ${chainId}`);
  }
  let { nonce } = enrol;
  let node: Register['node'] = null;
  if (deviceClass !== null) {
    const terms = { deviceClass: deviceClassKey(deviceClass), ask: ASK, nonce };
    const full = { node: addressOf(keys.nodeKey), operator, ...terms };
    const operatorSignature = signNodeTerms(domain, full, keys.operatorKey);
    node = { ...terms, operatorSignature, nodeSignature: signNodeTerms(domain, full, keys.nodeKey) };
    nonce += 1n;
  }
  if (stake === 0n) return { operator, node, stake: null };
  const signature = signStakeTerms(domain, { operator, amount: stake, nonce }, keys.operatorKey);
  const permit = signPermit(
    tokenDomain(chainId, token),
    {
      ...{ owner: operator, spender: registry, value: stake },
      ...{ nonce: enrol.permitNonce, deadline: nowS + PERMIT_LASTS_S },
    },
    keys.operatorKey,
  );
  return { operator, node, stake: { amount: stake, nonce, signature, permit } };
}
