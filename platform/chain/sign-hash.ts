/** A signature of a hash, as contracts recover it. */
import { signRecoverable } from 'tiny-secp256k1';
import type { Bytes32, Signature } from '../../protocol/ids.ts';

/** What contracts call the first of the two points that may have been meant. */
const FIRST_V = 27;

/**
 * The signature that ethers' SigningKey makes (RFC 6979, the smaller s), by libsecp256k1 in WebAssembly in a third of its time. A
 * node signs its batch anew with every delivery. `key`: a PrivateKey of signing.ts, which uses this.
 */
export function signHash(hash: Bytes32, key: string): Signature {
  const { signature, recoveryId } = signRecoverable(bytesOf(hash), bytesOf(key));
  const v = (FIRST_V + recoveryId).toString(16);
  return `0x${Buffer.from(signature).toString('hex')}${v}` as Signature;
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.slice(2), 'hex');
}
