/** The `nats-server` that an embedded farm starts: its configuration, and nothing else. */
import type { ServerTrust } from './authority.ts';
import { MAX_MESSAGE_BYTES } from './connection.ts';

/** Files in PEM. */
export type NatsTls = { certFile: string; keyFile: string };

export type NatsServerOptions = {
  port: number;
  storeFolder: string;
  trust: ServerTrust;
  /** Every connection is encrypted, and one that is not is refused. */
  tls?: NatsTls | undefined;
  /** Listens for WebSockets too, encrypted where `tls` is given. */
  websocketPort?: number | undefined;
};

/** Nobody has a use for more, and each costs the server memory. Far above the nodes of one farm. */
const MAX_CONNECTIONS = 16_384;

/** A stranger that connects and does not sign in is let go after this. */
const AUTH_TIMEOUT_S = 5;

/**
 * Configuration text. Who may do what stands in each connection's token (authority.ts), signed by a key that the server
 * trusts; there are no passwords. Listens on the loopback address only.
 */
export function natsServerConfig({
  port,
  storeFolder,
  trust,
  tls,
  websocketPort,
}: NatsServerOptions): string {
  const accounts = Object.entries(trust.accounts).map(([name, jwt]) => `  ${name}: ${jwt}`);
  return [
    `host: 127.0.0.1`,
    `port: ${port}`,
    `max_payload: ${MAX_MESSAGE_BYTES}`,
    `max_connections: ${MAX_CONNECTIONS}`,
    `authorization { timeout: ${AUTH_TIMEOUT_S} }`,
    `jetstream { store_dir: ${JSON.stringify(storeFolder)}, max_memory_store: 64MB }`,
    `operator: ${trust.operatorJwt}`,
    `system_account: ${trust.systemAccount}`,
    `resolver: MEMORY`,
    `resolver_preload {`,
    ...accounts,
    `}`,
    ...(tls === undefined ? [] : [tlsBlock(tls)]),
    ...(websocketPort === undefined ? [] : [websocketBlock(websocketPort, tls)]),
    '',
  ].join('\n');
}

function websocketBlock(port: number, tls: NatsTls | undefined): string {
  return `websocket { host: 127.0.0.1, port: ${port}, ${tls === undefined ? 'no_tls: true' : tlsBlock(tls)} }`;
}

function tlsBlock({ certFile, keyFile }: NatsTls): string {
  return `tls { cert_file: ${JSON.stringify(certFile)}, key_file: ${JSON.stringify(keyFile)} }`;
}
