/** What verifiers may ask, wired to what answers it. */
import type { NatsConnection } from 'nats';
import { serve } from '../../platform/nats/exchange.ts';
import { verifierIdSchema } from '../../protocol/ids.ts';
import { VERIFIER_EXCHANGES } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import type { VerifierDesk } from './verifier-desk.ts';

export async function serveVerifiers(
  context: CoordinatorContext,
  nats: NatsConnection,
  desk: VerifierDesk,
  signal: AbortSignal,
): Promise<void> {
  await serve(
    nats,
    'verifier',
    VERIFIER_EXCHANGES,
    verifierIdSchema,
    {
      next: (from) => desk.next(from, signal),
      secrets: async (from, { secrets }) => {
        await desk.secrets(from, secrets, signal);
        return {};
      },
      rendered: (from, { batchId, seed, cropDigests }) => desk.rendered(from, batchId, seed, cropDigests),
      verdict: async (from, verdict) => {
        await desk.verdict(from, verdict);
        return {};
      },
      fail: async (from, { batchId, message }) => {
        await desk.failed(from, batchId, message);
        return {};
      },
    },
    signal,
    (error, subject, from) =>
      context.log.warn({ err: error, subject, verifierId: from }, 'a verifier was refused'),
  );
}
