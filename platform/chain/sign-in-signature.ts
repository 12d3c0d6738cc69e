/** The signature that a node or verifier signs in with: EIP-712, of no use on chain and at no other farm. */
import { SigningKey } from 'ethers/crypto';
import { TypedDataEncoder } from 'ethers/hash';
import { recoverAddress } from 'ethers/transaction';
import { hexlify } from 'ethers/utils';
import type { Address, Bytes32, Signature } from '../../protocol/ids.ts';
import type { Applicant, SignInChallenge } from '../../protocol/sign-in.ts';
import type { PrivateKey } from './signing.ts';

export type SignInTerms = {
  /** The farm, by the address that the applicant itself called: a farm that passes the challenge on gains nothing. */
  farm: string;
  applicant: Applicant;
  challenge: SignInChallenge;
};

/** Names no chain and no contract, so it can be mistaken for none of the escrow's signatures. */
const DOMAIN = { name: 'Tessera sign-in', version: '1' };

const TYPES = {
  SignIn: [
    { name: 'farm', type: 'string' },
    { name: 'role', type: 'string' },
    { name: 'id', type: 'string' },
    { name: 'account', type: 'address' },
    { name: 'natsUser', type: 'string' },
    { name: 'nonce', type: 'bytes32' },
    { name: 'expiresAtMs', type: 'uint64' },
  ],
};

export function signSignIn(terms: SignInTerms, key: PrivateKey): Signature {
  return new SigningKey(key).sign(hashSignIn(terms)).serialized as Signature;
}

/** Who signed these terms, or null when the signature is no signature. */
export function recoverSignInSigner(terms: SignInTerms, signature: Signature): Address | null {
  try {
    return recoverAddress(hashSignIn(terms), signature).toLowerCase() as Address;
  } catch {
    return null;
  }
}

function hashSignIn({ farm, applicant, challenge }: SignInTerms): Bytes32 {
  const { address: account, ...who } = applicant;
  return hexlify(TypedDataEncoder.hash(DOMAIN, TYPES, { farm, ...who, account, ...challenge })) as Bytes32;
}
