/** Delivers kept EXRs that a check has drawn, and forgets those that are settled. */
import { errorCode } from '../platform/files.ts';
import { ask } from '../platform/nats/exchange.ts';
import { backoffMs, pause, stoppable } from '../platform/wait.ts';
import type { Digest } from '../protocol/ids.ts';
import { KEPT_ANSWER_MS, MAX_KEPT, NODE_EXCHANGES, nodeSubject } from '../protocol/messages.ts';
import type { Node } from './node.ts';

/** A file that is wanted and is not here does not appear by asking again at once. */
const LOST_PAUSE_MS = 5_000;

/** What handing over needs of a node. */
export type HandOverNode = Pick<Node, 'nats' | 'blobs' | 'kept' | 'log'> & {
  config: Pick<Node['config'], 'nodeId'>;
};

export async function handOverUntilStopped(node: HandOverNode, signal: AbortSignal): Promise<void> {
  const { nats, kept, log } = node;
  const subject = nodeSubject(node.config.nodeId, 'kept');
  let attempt = 0;
  while (!signal.aborted) {
    try {
      const asOf = kept.keeps;
      const request = { kept: kept.confirmed(MAX_KEPT) };
      const reply = await stoppable(ask(nats, NODE_EXCHANGES.kept, subject, request, KEPT_ANSWER_MS), signal);
      if (reply === null) return;
      for (const digest of reply.settled) await kept.drop(digest, asOf);
      const lost = await deliverAll(node, reply.wanted, signal);
      attempt = 0;
      if (lost.length === 0) continue;
      log.error({ lost }, 'files that this node committed to are gone; the check that wants them will fail');
      await pause(LOST_PAUSE_MS, signal);
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ err: error }, 'kept files could not be handed over; trying again');
      await pause(backoffMs(attempt++), signal);
    }
  }
}

/** Delivers what is here and returns what is not. One that cannot be sent does not hold up the others. */
async function deliverAll(
  { blobs, kept }: HandOverNode,
  wanted: readonly Digest[],
  signal: AbortSignal,
): Promise<Digest[]> {
  const lost: Digest[] = [];
  const failures: unknown[] = [];
  for (const digest of wanted) {
    try {
      const sent = kept.has(digest) ? await blobs.putFile(kept.pathOf(digest), signal) : null;
      // A disk that gives back other bytes: they are stored under their own name, which nobody has asked for.
      if (sent?.digest !== digest) lost.push(digest);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') lost.push(digest);
      else failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return lost;
}
