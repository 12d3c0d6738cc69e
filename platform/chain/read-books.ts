/** The escrow's books as of now, for whoever audits a farm: no key, no state, every event read from the chain. */
import type { Deployment } from './deployment.ts';
import { booksOf, type EscrowBooks } from './escrow-books.ts';
import { followEvents } from './follow-events.ts';
import { jsonRpc } from './json-rpc.ts';

/** The books of one block, the newest, from events alone. `file` keeps what was read for the next time. */
export async function escrowBooks(
  url: string,
  deployment: Deployment,
  options: { signal?: AbortSignal; file?: string; depth?: number } = {},
): Promise<EscrowBooks & { upTo: bigint }> {
  const { chainId, escrowAddress, registryAddress, deployedBlock } = deployment;
  const follower = followEvents({
    ...{ rpc: jsonRpc(url), chainId, addresses: [escrowAddress, registryAddress], fromBlock: deployedBlock },
    ...{ file: options.file ?? null, depth: options.depth ?? DEFAULT_DEPTH },
  });
  const upTo = await follower.advance(options.signal);
  return { ...booksOf(follower.logs(), { escrowAddress, registryAddress }), upTo };
}

/** As many blocks as a write of the farm waits for by default. */
const DEFAULT_DEPTH = 12;
