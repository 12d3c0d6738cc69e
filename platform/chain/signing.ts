/** Signatures of requesters, nodes and verifiers: EIP-712, made and checked without a connection. */
import {
  computeAddress,
  concat,
  hexlify,
  keccak256,
  randomBytes,
  SigningKey,
  TypedDataEncoder,
} from 'ethers';
import { recover as recoverPublicKey } from 'tiny-secp256k1';
import type { Address, Bytes32, Signature } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import type { CommitTerms, OpenJobTerms, SignedPermit, VerdictTerms } from './chain.ts';

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
export const TEST_TOKEN_NAME = 'Tessera Test Token';

const OPEN_JOB = encoder('OpenJob', [
  ['address', 'requester'],
  ['bytes32', 'jobKey'],
  ['uint96', 'budget'],
  ['uint96', 'maxTaskPrice'],
  ['uint40', 'deadline'],
]);
const COMMIT = encoder('Commit', [
  ['bytes32', 'jobKey'],
  ['bytes32', 'batchKey'],
  ['address', 'node'],
  ['bytes32', 'root'],
  ['uint16', 'count'],
  ['uint96', 'amount'],
]);
const VERDICT = encoder('Verdict', [
  ['bytes32', 'batchKey'],
  ['uint8', 'outcome'],
  ['bytes32', 'evidence'],
]);
const PERMIT = encoder('Permit', [
  ['address', 'owner'],
  ['address', 'spender'],
  ['uint256', 'value'],
  ['uint256', 'nonce'],
  ['uint256', 'deadline'],
]);

/** The domain of the escrow's signatures. */
export function escrowDomain(chainId: number, escrow: Address): SigningDomain {
  return { name: ESCROW_NAME, version: '1', chainId, verifyingContract: escrow };
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

/** A requester's agreement to a job's terms. */
export function signOpenJob(domain: SigningDomain, terms: OpenJobTerms, key: PrivateKey): Signature {
  return sign(hashOpenJob(domain, terms), key);
}

/** A requester's permit for the escrow to pull `value`. `nonce` comes from FarmChain.permitNonce. */
export function signPermit(
  domain: SigningDomain,
  permit: { owner: Address; spender: Address; value: bigint; nonce: bigint; deadline: number },
  key: PrivateKey,
): SignedPermit {
  const signature = sign(digest(domain, PERMIT, permit), key);
  return { value: permit.value, deadline: permit.deadline, signature };
}

/** A node's commitment to a batch. */
export function signCommit(domain: SigningDomain, commit: CommitTerms, key: PrivateKey): Signature {
  return sign(hashCommit(domain, commit), key);
}

/** A verifier's verdict. */
export function signVerdict(domain: SigningDomain, verdict: VerdictTerms, key: PrivateKey): Signature {
  return sign(hashVerdict(domain, verdict), key);
}

/** Who signed these terms, or null when the signature is no signature. */
export function recoverOpenJobSigner(
  domain: SigningDomain,
  terms: OpenJobTerms,
  signature: Signature,
): Address | null {
  return recover(hashOpenJob(domain, terms), signature);
}

/** Who signed this commit, or null when the signature is no signature. */
export function recoverCommitSigner(
  domain: SigningDomain,
  commit: CommitTerms,
  signature: Signature,
): Address | null {
  return recover(hashCommit(domain, commit), signature);
}

/** Who signed this verdict, or null when the signature is no signature. */
export function recoverVerdictSigner(
  domain: SigningDomain,
  verdict: VerdictTerms,
  signature: Signature,
): Address | null {
  return recover(hashVerdict(domain, verdict), signature);
}

/** Outcomes as the contract numbers them; 0 is "none yet" there. */
export const OUTCOME_NUMBERS = { pass: 1, fail: 2, inconclusive: 3 } as const satisfies Record<
  Outcome,
  number
>;

function hashOpenJob(domain: SigningDomain, terms: OpenJobTerms): Bytes32 {
  return digest(domain, OPEN_JOB, terms);
}

function hashCommit(domain: SigningDomain, commit: CommitTerms): Bytes32 {
  return digest(domain, COMMIT, commit);
}

function hashVerdict(domain: SigningDomain, verdict: VerdictTerms): Bytes32 {
  return digest(domain, VERDICT, { ...verdict, outcome: OUTCOME_NUMBERS[verdict.outcome] });
}

/** Made once per type, not once per signature as `TypedDataEncoder.hash(domain, types, value)` would. */
function encoder(name: string, fields: readonly (readonly [type: string, name: string])[]): TypedDataEncoder {
  return new TypedDataEncoder({ [name]: fields.map(([type, field]) => ({ type, name: field })) });
}

const separators = new WeakMap<SigningDomain, string>();

function digest(domain: SigningDomain, type: TypedDataEncoder, value: Record<string, unknown>): Bytes32 {
  let separator = separators.get(domain);
  if (separator === undefined) {
    separator = TypedDataEncoder.hashDomain(domain);
    separators.set(domain, separator);
  }
  return keccak256(concat(['0x1901', separator, type.hash(value)])) as Bytes32;
}

function sign(hash: Bytes32, key: PrivateKey): Signature {
  return new SigningKey(key).sign(hash).serialized as Signature;
}

/** Half of the group's order: of the two signatures that each one gives, contracts take the one with the smaller s. */
const HALF_ORDER = Buffer.from('7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0', 'hex');
const SIGNATURE = /^0x[0-9a-fA-F]{130}$/;
/** What contracts call the two points that may have been meant; anything else they refuse. */
const FIRST_V = 27;

/** With libsecp256k1 in WebAssembly: an eighth of the time that ethers' arithmetic in JavaScript takes, and every delivery needs it. */
function recover(hash: Bytes32, signature: Signature): Address | null {
  if (!SIGNATURE.test(signature)) return null;
  const bytes = Buffer.from(signature.slice(2), 'hex');
  const which = (bytes[64] ?? 0) - FIRST_V;
  if ((which !== 0 && which !== 1) || bytes.compare(HALF_ORDER, 0, 32, 32, 64) > 0) return null;
  try {
    const key = recoverPublicKey(Buffer.from(hash.slice(2), 'hex'), bytes.subarray(0, 64), which, false);
    // Without the byte that says how the point is written; an address is the last 20 bytes of the hash.
    return key === null ? null : (`0x${keccak256(key.subarray(1)).slice(-40)}` as Address);
  } catch {
    return null;
  }
}
