/** What nodes ask is counted and timed where it arrives; what answers knows nothing of it. */

import type { Handlers } from '../../platform/nats/exchange.ts';
import { type ErrorCode, toFarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { NODE_EXCHANGES, NodeVerb } from '../../protocol/messages.ts';
import type { CoordinatorMetrics } from './metrics.ts';

type NodeHandlers = Handlers<typeof NODE_EXCHANGES, NodeId>;

/** The same handlers, observed. Results count once they are written down, leases once they are granted. */
export function observeNodes(metrics: CoordinatorMetrics, handlers: NodeHandlers): NodeHandlers {
  const counted = async <T>(verb: NodeVerb, work: Promise<T>): Promise<T> => {
    let code: ErrorCode | 'OK' = 'OK';
    try {
      return await work;
    } catch (error) {
      code = toFarmError(error).code;
      throw error;
    } finally {
      metrics.nodeRequests.inc({ verb, code });
    }
  };
  return {
    hello: (...asked) => counted('hello', handlers.hello(...asked)),
    register: (...asked) => counted('register', handlers.register(...asked)),
    heartbeat: (...asked) => counted('heartbeat', handlers.heartbeat(...asked)),
    kept: (...asked) => counted('kept', handlers.kept(...asked)),
    failed: (...asked) => counted('failed', handlers.failed(...asked)),
    appeal: (...asked) => counted('appeal', handlers.appeal(...asked)),
    async lease(...asked) {
      const startedMs = performance.now();
      metrics.nodesWaiting.inc();
      try {
        const reply = await counted('lease', handlers.lease(...asked));
        if (reply.run === null) return reply;
        metrics.leaseSeconds.observe((performance.now() - startedMs) / 1_000);
        metrics.leased.inc(reply.run.tasks.length);
        return reply;
      } finally {
        metrics.nodesWaiting.dec();
      }
    },
    async complete(from, message, signal) {
      const reply = await counted('complete', handlers.complete(from, message, signal));
      // Otherwise nothing was taken: the node signs again and comes back.
      if (reply.moved !== null || reply.lost.length > 0) return reply;
      for (const { receipt, renderMs } of message.deliveries) {
        metrics.completed.inc({ kind: receipt.kind });
        metrics.taskSeconds.observe({ kind: receipt.kind }, renderMs / 1_000);
      }
      return reply;
    },
    async fail(from, message, signal) {
      const reply = await counted('fail', handlers.fail(from, message, signal));
      metrics.failures.inc({ class: message.failureClass });
      return reply;
    },
  };
}
