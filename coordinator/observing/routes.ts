/** /healthz, /readyz and /metrics: for whoever watches the farm, without a credential, on the loopback address. */

import { type RequestHandler, Router } from 'express';
import { sql } from 'kysely';
import type { NatsConnection } from 'nats';
import { sendJson } from '../../platform/http/express-kit.ts';
import type { CoordinatorContext } from '../context.ts';
import { readGauges } from './farm-gauges.ts';
import type { CoordinatorMetrics } from './metrics.ts';
import { Readiness } from './readiness.ts';

/** Well above what a busy part takes, well below what a probe waits for. */
const READY_LIMIT_MS = 2_000;

/** What /readyz asks of this coordinator's own database, message server and chain. */
export function readinessOf(
  { db, chain, log }: Pick<CoordinatorContext, 'db' | 'chain' | 'log'>,
  nats: Pick<NatsConnection, 'rtt'>,
): Readiness {
  return new Readiness({
    probes: {
      database: () => sql`select 1`.execute(db),
      messages: () => nats.rtt(),
      chain: (signal) => chain.blockNumber(signal),
    },
    limitMs: READY_LIMIT_MS,
    onChange: (part, state, error) => {
      if (state.ok) log.info({ part }, `the ${part} answers again`);
      else
        log.warn(
          { part, reason: state.reason, ...(error !== null && { err: error }) },
          `the ${part} is down`,
        );
    },
  });
}

export function observingRoutes(context: CoordinatorContext, readiness: Readiness): Router {
  const router = Router();
  // Alive means that this process answers. Nothing else is asked: what is down elsewhere is not mended by a restart here.
  router.get('/healthz', (_request, response) => sendJson(response, { ok: true }));
  router.get('/readyz', async (_request, response) => {
    const parts = await readiness.parts();
    const ok = Object.values(parts).every((part) => part.ok);
    sendJson(response, { ok, parts }, ok ? 200 : 503);
  });
  let reading: Promise<string> | undefined;
  router.get('/metrics', async (_request, response) => {
    const { registry } = context.metrics;
    // One reading for all who ask at the same time.
    reading ??= readiness
      .parts()
      .then((parts) => readGauges(context, parts))
      .then(() => registry.metrics())
      .finally(() => {
        reading = undefined;
      });
    response.type(registry.contentType).send(await reading);
  });
  return router;
}

/** Times every request under the route that took it; a path that nobody knows is one route, whatever it says. */
export function observeRequests(metrics: CoordinatorMetrics): RequestHandler {
  return (request, response, next) => {
    const startedMs = performance.now();
    response.once('close', () => {
      const route: unknown = request.route?.path;
      metrics.httpSeconds.observe(
        {
          method: request.method,
          route: typeof route === 'string' ? route : 'none',
          status: String(response.statusCode),
        },
        (performance.now() - startedMs) / 1_000,
      );
    });
    next();
  };
}
