/** Who signed a hash, as contracts find it out. */
import { keccak256 } from 'ethers/crypto';
import { recover } from 'tiny-secp256k1';
import type { Address, Bytes32, Signature } from '../../protocol/ids.ts';

/** Half of the group's order: of the two signatures that each one gives, contracts take the one with the smaller s. */
const HALF_ORDER = Buffer.from('7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0', 'hex');
const SIGNATURE = /^0x[0-9a-fA-F]{130}$/;
/** What contracts call the two points that may have been meant; anything else they refuse. */
const FIRST_V = 27;

/**
 * The signer's address, or null when the signature is none. By libsecp256k1 in WebAssembly: an eighth of the time that
 * ethers' arithmetic in JavaScript takes, and every delivery needs it.
 */
export function recoverSigner(hash: Bytes32, signature: Signature): Address | null {
  if (!SIGNATURE.test(signature)) return null;
  const bytes = Buffer.from(signature.slice(2), 'hex');
  const which = (bytes[64] ?? 0) - FIRST_V;
  if ((which !== 0 && which !== 1) || bytes.compare(HALF_ORDER, 0, 32, 32, 64) > 0) return null;
  try {
    const key = recover(Buffer.from(hash.slice(2), 'hex'), bytes.subarray(0, 64), which, false);
    // Without the byte that says how the point is written; an address is the last 20 bytes of the hash.
    return key === null ? null : (`0x${keccak256(key.subarray(1)).slice(-40)}` as Address);
  } catch {
    return null;
  }
}
