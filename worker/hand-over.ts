/** Delivers kept EXRs that a check has drawn, and forgets those that are settled. */
import { ask } from '../platform/nats/exchange.ts';
import { backoffMs, pause, stoppable } from '../platform/wait.ts';
import { MAX_KEPT, NODE_EXCHANGES, nodeSubject } from '../protocol/messages.ts';
import type { Node } from './node.ts';

/** The coordinator answers within 15 s even when there is nothing. */
const KEPT_TIMEOUT_MS = 30_000;

/** A file that is wanted and is not here does not appear by asking again at once. */
const LOST_PAUSE_MS = 5_000;

export async function handOverUntilStopped(node: Node, signal: AbortSignal): Promise<void> {
  const { nats, blobs, kept, log } = node;
  const subject = nodeSubject(node.config.nodeId, 'kept');
  let attempt = 0;
  while (!signal.aborted) {
    try {
      const request = { kept: kept.confirmed(MAX_KEPT) };
      const reply = await stoppable(
        ask(nats, NODE_EXCHANGES.kept, subject, request, KEPT_TIMEOUT_MS),
        signal,
      );
      if (reply === null) return;
      attempt = 0;
      for (const digest of reply.settled) await kept.drop(digest);
      const lost = reply.wanted.filter((digest) => !kept.has(digest));
      for (const digest of reply.wanted) {
        if (kept.has(digest)) await blobs.putFile(kept.pathOf(digest), signal);
      }
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
