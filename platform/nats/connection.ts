/** The only folder that knows the NATS client library. */
import { connect, type NatsConnection } from 'nats';
import { FarmError } from '../../protocol/errors.ts';
import { pause } from '../wait.ts';

export type NatsAddress = { url: string; user: string; password: string };

/** The server itself refuses more. A lease carries its scene's file list, which submission holds below half of this. */
export const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

/**
 * Connects and stays connected: the client tries again for ever when the server goes away, since a node must outlive
 * a restart of the farm. `inboxPrefix` is the only place replies may arrive (the server's permissions say so too).
 */
export async function connectNats(
  address: NatsAddress,
  name: string,
  inboxPrefix: string,
): Promise<NatsConnection> {
  try {
    return await connect({
      servers: address.url,
      user: address.user,
      pass: address.password,
      name,
      inboxPrefix,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      waitOnFirstConnect: true,
      // A server that is silent for this long is gone; the default of two minutes leaves nodes idle.
      pingInterval: 5_000,
      maxPingOut: 3,
    });
  } catch (error) {
    throw new FarmError('FARM_UNREACHABLE', `no message server answers at ${address.url}`, { cause: error });
  }
}

/** How long a message server may take to start; with a large stream on disk it reads for a while. */
const SERVER_START_MS = 30_000;

/** Waits until the server at `url` lets this user in. */
export async function waitForNats(
  url: string,
  user: string,
  password: string,
  signal: AbortSignal,
): Promise<void> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(SERVER_START_MS)]);
  let last: unknown;
  while (!patience.aborted) {
    try {
      const probe = await connect({ servers: url, user, pass: password, reconnect: false, timeout: 2_000 });
      await probe.close();
      return;
    } catch (error) {
      last = error;
      await pause(50, patience);
    }
  }
  throw new FarmError('FARM_UNREACHABLE', `the message server at ${url} did not start`, { cause: last });
}
