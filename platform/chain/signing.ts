/** Signatures of requesters, operators, nodes and verifiers: EIP-712, made and checked without a connection. */
import { keccak256, randomBytes } from 'ethers/crypto';
import { TypedDataEncoder } from 'ethers/hash';
import { computeAddress } from 'ethers/transaction';
import { concat, hexlify } from 'ethers/utils';
import '../../proof/keccak.ts';
import type { Address, Bytes32, Signature } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import type {
  CommitTerms,
  DisputeTerms,
  NodeTerms,
  OpenJobTerms,
  SignedPermit,
  StakeTerms,
  VerdictTerms,
  VerifierTerms,
} from './chain.ts';
import { recoverSigner } from './recover-signer.ts';
import { signHash } from './sign-hash.ts';

/** A secp256k1 private key as 0x and 64 hex digits. Never logged, never in an error. */
export type PrivateKey = string & { readonly __privateKey: true };

/** The contract and chain that a signature is for; it is worthless anywhere else. */
export type SigningDomain = {
  readonly name: string;
  readonly version: string;
  readonly chainId: number;
  readonly verifyingContract: Address;
};

export const ESCROW_NAME = 'Tessera RenderEscrow';
export const REGISTRY_NAME = 'Tessera NodeRegistry';
export const TEST_TOKEN_NAME = 'Tessera Test Token';

/** The domain of what requesters, nodes, verifiers and disputers sign for the escrow. */
export function escrowDomain(chainId: number, escrow: Address): SigningDomain {
  const key = `${chainId} ${escrow}`;
  const known = escrowDomains.get(key);
  if (known !== undefined) return known;
  const domain = { name: ESCROW_NAME, version: '2', chainId, verifyingContract: escrow };
  escrowDomains.set(key, domain);
  return domain;
}
/** A program knows one or two; each is asked for with every signature, and its hash is remembered with it. */
const escrowDomains = new Map<string, SigningDomain>();

/** The domain of what operators and their nodes sign for the registry. */
export function registryDomain(chainId: number, registry: Address): SigningDomain {
  return { name: REGISTRY_NAME, version: '1', chainId, verifyingContract: registry };
}

/** The domain of a token's permits. Name and version are the token's own; those of the test token by default. */
export function tokenDomain(
  chainId: number,
  token: Address,
  named: { name: string; version: string } = { name: TEST_TOKEN_NAME, version: '1' },
): SigningDomain {
  return { ...named, chainId, verifyingContract: token };
}

/** A new private key from the system's randomness. */
export function newPrivateKey(): PrivateKey {
  // A random value that is no valid key has a chance of 2^-128; SigningKey would refuse it on first use.
  return hexlify(randomBytes(32)) as PrivateKey;
}

/** The address of a key, lower case. */
export function addressOf(key: PrivateKey): Address {
  return computeAddress(key).toLowerCase() as Address;
}

/** Outcomes as the contract numbers them; 0 is "none yet" there. */
export const OUTCOME_NUMBERS = { pass: 1, fail: 2, inconclusive: 3 } as const satisfies Record<
  Outcome,
  number
>;

const OPEN_JOB = typed<OpenJobTerms>('OpenJob', [
  ['address', 'requester'],
  ['bytes32', 'jobKey'],
  ['uint96', 'budget'],
  ['uint96', 'maxTaskPrice'],
  ['uint40', 'deadline'],
]);
/** A requester's agreement to a job's terms. */
export const signOpenJob = OPEN_JOB.sign;
/** Who signed these terms, or null when the signature is no signature. */
export const recoverOpenJobSigner = OPEN_JOB.recover;
/** The same for a wallet elsewhere to sign. */
export const openJobTypedData = OPEN_JOB.typedData;

const COMMIT = typed<CommitTerms>('Commit', [
  ['bytes32', 'jobKey'],
  ['bytes32', 'batchKey'],
  ['bytes32', 'root'],
  ['uint16', 'count'],
  ['uint96', 'amount'],
]);
/** A node's commitment to a batch, whose key names the node. */
export const signCommit = COMMIT.sign;
/** Who signed this commit, or null when the signature is no signature. */
export const recoverCommitSigner = COMMIT.recover;

const VERDICT = typed<VerdictTerms>(
  'Verdict',
  [
    ['bytes32', 'batchKey'],
    ['bytes32', 'seed'],
    ['uint8', 'outcome'],
    ['bytes32', 'evidence'],
  ],
  (verdict) => ({ ...verdict, outcome: OUTCOME_NUMBERS[verdict.outcome] }),
);
/** A verifier's verdict: the first's, the second's and that of a member of a committee alike. */
export const signVerdict = VERDICT.sign;
/** Who signed this verdict, or null when the signature is no signature. */
export const recoverVerdictSigner = VERDICT.recover;

const DISPUTE = typed<DisputeTerms>('Dispute', [
  ['bytes32', 'batchKey'],
  ['bytes32', 'seed'],
  ['address', 'disputer'],
  ['uint96', 'bond'],
]);
/** A bond put on a verdict being wrong. */
export const signDispute = DISPUTE.sign;
/** Who signed this dispute, or null when the signature is no signature. */
export const recoverDisputeSigner = DISPUTE.recover;

const NODE_TERMS = typed<NodeTerms>('NodeTerms', [
  ['address', 'node'],
  ['address', 'operator'],
  ['bytes32', 'deviceClass'],
  ['uint96', 'ask'],
  ['uint64', 'nonce'],
]);
/** An operator's and a node's agreement to belong together; each signs the same terms. */
export const signNodeTerms = NODE_TERMS.sign;
/** Who signed these terms, or null when the signature is no signature. */
export const recoverNodeTermsSigner = NODE_TERMS.recover;

const STAKE_TERMS = typed<StakeTerms>('StakeTerms', [
  ['address', 'operator'],
  ['uint96', 'amount'],
  ['uint64', 'nonce'],
]);
/** An operator's agreement that its tokens are put down as its stake. */
export const signStakeTerms = STAKE_TERMS.sign;
/** Who signed these terms, or null when the signature is no signature. */
export const recoverStakeTermsSigner = STAKE_TERMS.recover;

const VERIFIER_TERMS = typed<VerifierTerms>('VerifierTerms', [
  ['address', 'verifier'],
  ['address', 'operator'],
  ['bytes32', 'head'],
  ['uint64', 'nonce'],
]);
/** An operator's agreement that one of its keys checks others' work. */
export const signVerifierTerms = VERIFIER_TERMS.sign;
/** Who signed these terms, or null when the signature is no signature. */
export const recoverVerifierTermsSigner = VERIFIER_TERMS.recover;

/** What an owner of tokens signs so that a contract may pull them. */
export type PermitTerms = {
  owner: Address;
  spender: Address;
  value: bigint;
  nonce: bigint;
  deadline: number;
};

const PERMIT = typed<PermitTerms>('Permit', [
  ['address', 'owner'],
  ['address', 'spender'],
  ['uint256', 'value'],
  ['uint256', 'nonce'],
  ['uint256', 'deadline'],
]);
/** A permit for `spender` to pull `value`. `nonce` comes from FarmChain.permitNonce. */
export function signPermit(domain: SigningDomain, permit: PermitTerms, key: PrivateKey): SignedPermit {
  return { value: permit.value, deadline: permit.deadline, signature: PERMIT.sign(domain, permit, key) };
}
/** Who signed this permit, or null when the signature is no signature. */
export const recoverPermitSigner = PERMIT.recover;
/** The same for a wallet elsewhere to sign. */
export const permitTypedData = PERMIT.typedData;

/** EIP-712 data as `eth_signTypedData_v4` takes it: numbers are decimal strings. */
export type TypedData = {
  types: Record<string, { name: string; type: string }[]>;
  primaryType: string;
  domain: Record<string, unknown>;
  message: Record<string, unknown>;
};

type Typed<Terms> = {
  typedData(domain: SigningDomain, terms: Terms): TypedData;
  sign(domain: SigningDomain, terms: Terms, key: PrivateKey): Signature;
  recover(domain: SigningDomain, terms: Terms, signature: Signature): Address | null;
};

/** One EIP-712 type. Its encoder is made once, not once per signature as `TypedDataEncoder.hash` would. */
function typed<Terms extends Record<string, unknown>>(
  name: string,
  fields: readonly (readonly [type: string, name: keyof Terms & string])[],
  toValue: (terms: Terms) => Record<string, unknown> = (terms) => terms,
): Typed<Terms> {
  const types = { [name]: fields.map(([type, field]) => ({ type, name: field })) };
  const encoder = new TypedDataEncoder(types);
  const digest = (domain: SigningDomain, terms: Terms): Bytes32 =>
    keccak256(concat(['0x1901', separatorOf(domain), encoder.hash(toValue(terms))])) as Bytes32;
  return {
    typedData: (domain, terms) =>
      TypedDataEncoder.getPayload(domain, types, toValue(terms)) as unknown as TypedData,
    sign: (domain, terms, key) => signHash(digest(domain, terms), key),
    recover(domain, terms, signature) {
      try {
        return recoverSigner(digest(domain, terms), signature);
      } catch {
        // A number that no such field can hold: nobody can have signed it.
        return null;
      }
    },
  };
}

const separators = new WeakMap<SigningDomain, string>();

function separatorOf(domain: SigningDomain): string {
  let separator = separators.get(domain);
  if (separator === undefined) {
    separator = TypedDataEncoder.hashDomain(domain);
    separators.set(domain, separator);
  }
  return separator;
}
