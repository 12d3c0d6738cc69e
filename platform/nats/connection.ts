/** The only folder that knows the NATS client library. */
import {
  type ConnectionOptions,
  connect,
  ErrorCode,
  jwtAuthenticator,
  type NatsConnection,
  NatsError,
} from 'nats';
import { FarmError } from '../../protocol/errors.ts';
import { pause } from '../wait.ts';
import { inboxPrefix, type NatsCredential } from './authority.ts';

/**
 * Where the message server is; of a cluster the addresses of its servers with commas between them. `caFile`: the certificate to trust, where no public authority vouches for
 * it (PEM).
 */
export type NatsServer = { url: string; caFile?: string | undefined };

/** The server itself refuses more. A lease carries its scene's file list, which submission holds below half of this. */
export const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

/** A server that takes longer to let somebody in is as good as none; it is tried again. */
const CONNECT_TIMEOUT_MS = 10_000;

/** What every connection has in common. The credential is looked at anew at each try to come back. */
function optionsFor(server: NatsServer, credential: () => NatsCredential): ConnectionOptions {
  return {
    servers: server.url.split(','),
    timeout: CONNECT_TIMEOUT_MS,
    authenticator: jwtAuthenticator(
      () => credential().jwt,
      () => credential().seed,
    ),
    ...(server.caFile !== undefined && { tls: { caFile: server.caFile } }),
  };
}

/**
 * Connects and stays connected: the client tries again for ever when the server goes away, since a program must
 * outlive a restart of the farm. Replies arrive below the inbox of `name` only (the server's permissions say so too).
 * `wait` is for whoever starts beside the server: until it is there.
 */
export async function connectNats(
  server: NatsServer,
  name: string,
  credential: () => NatsCredential,
  { wait = true } = {},
): Promise<NatsConnection> {
  try {
    return await connect({
      ...optionsFor(server, credential),
      name,
      inboxPrefix: inboxPrefix(name),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      waitOnFirstConnect: wait,
      // A token that has run out is replaced by the next sign-in; until then there is no reason to give up.
      ignoreAuthErrorAbort: true,
      // A server that is silent for this long is gone; the default of two minutes leaves nodes idle.
      pingInterval: 5_000,
      maxPingOut: 3,
    });
  } catch (error) {
    throw connectError(server, error);
  }
}

function connectError(server: NatsServer, cause: unknown): FarmError {
  const refused = cause instanceof NatsError && REFUSALS.has(cause.code);
  return refused
    ? new FarmError('UNAUTHORIZED', `the message server at ${server.url} does not take this token`, { cause })
    : new FarmError('FARM_UNREACHABLE', `no message server answers at ${server.url}`, { cause });
}

const REFUSALS: ReadonlySet<string> = new Set([
  ErrorCode.AuthorizationViolation,
  ErrorCode.AuthenticationExpired,
]);

/** How long a message server may take to start; with a large stream on disk it reads for a while. */
const SERVER_START_MS = 30_000;

/** Waits until the server lets this user in. */
export async function waitForNats(
  server: NatsServer,
  credential: NatsCredential,
  signal: AbortSignal,
): Promise<void> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(SERVER_START_MS)]);
  let last: unknown;
  while (!patience.aborted) {
    try {
      const probe = await connect({
        ...optionsFor(server, () => credential),
        reconnect: false,
        timeout: 2_000,
      });
      await probe.close();
      return;
    } catch (error) {
      last = error;
      await pause(50, patience);
    }
  }
  throw new FarmError('FARM_UNREACHABLE', `the message server at ${server.url} did not start`, {
    cause: last,
  });
}
