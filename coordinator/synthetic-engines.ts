/**
 * Synthetic engines make numbers for load tests; nobody may be charged for them. Every job of a farm is paid through
 * its escrow, so there is no unpaid job to tell apart: what is told apart is the farm. It has to be started with
 * `allowSynthetic`, which `tessera up` never sets, and its money has to be the embedded chain's, which is worth nothing.
 */
import { EMBEDDED_CHAIN_ID } from '../platform/chain/embedded.ts';
import { isSynthetic } from '../platform/render/synthetic/runtime.ts';
import { FarmError } from '../protocol/errors.ts';

/** Throws SYNTHETIC_REFUSED when one of the engines of `who` is synthetic and may not be. */
export function requireNoSynthetic(
  who: string,
  engines: readonly { id: string }[],
  farm: { allowSynthetic: boolean; chainId: number },
): void {
  const found = engines.find((engine) => isSynthetic(engine.id));
  if (found === undefined || (farm.allowSynthetic && farm.chainId === EMBEDDED_CHAIN_ID)) return;
  const why = farm.allowSynthetic
    ? `chain ${farm.chainId} is not the embedded one, so its money may be real`
    : 'this farm was not started with allowSynthetic';
  throw new FarmError('SYNTHETIC_REFUSED', `${who} renders with ${found.id}, and ${why}`, {
    kept: 'no work was given to it, no money moved',
  });
}
