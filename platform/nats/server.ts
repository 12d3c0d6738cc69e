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
  /** The address to listen on; the loopback address when left out. */
  host?: string | undefined;
  /** Of several servers that keep the same list: each is named, and knows where the others listen for it. */
  cluster?: { serverName: string; name: string; port: number; routes: readonly string[] } | undefined;
};

/** Nobody has a use for more, and each costs the server memory. Far above the nodes of one farm. */
const MAX_CONNECTIONS = 16_384;

/** A stranger that connects and does not sign in is let go after this. */
const AUTH_TIMEOUT_S = 5;

/**
 * Configuration text. Who may do what stands in each connection's token (authority.ts), signed by a key that the server
 * trusts; there are no passwords.
 */
export function natsServerConfig({
  port,
  storeFolder,
  trust,
  tls,
  websocketPort,
  host = '127.0.0.1',
  cluster,
}: NatsServerOptions): string {
  return [
    `host: ${host}`,
    `port: ${port}`,
    trustConfig(trust),
    `jetstream { store_dir: ${JSON.stringify(storeFolder)}, max_memory_store: 64MB }`,
    ...(tls === undefined ? [] : [tlsBlock(tls)]),
    ...(websocketPort === undefined ? [] : [websocketBlock(host, websocketPort, tls)]),
    ...(cluster === undefined
      ? []
      : [
          `server_name: ${cluster.serverName}`,
          `cluster { name: ${cluster.name}, host: ${host}, port: ${cluster.port}, routes: ${JSON.stringify(cluster.routes)} }`,
        ]),
    '',
  ].join('\n');
}

/** What every server of a farm says alike, whoever runs it: whom it trusts, and what it takes of whom. Nothing is secret. */
export function trustConfig(trust: ServerTrust): string {
  return [
    `max_payload: ${MAX_MESSAGE_BYTES}`,
    `max_connections: ${MAX_CONNECTIONS}`,
    `authorization { timeout: ${AUTH_TIMEOUT_S} }`,
    `operator: ${trust.operatorJwt}`,
    `system_account: ${trust.systemAccount}`,
    `resolver: MEMORY`,
    `resolver_preload {`,
    ...Object.entries(trust.accounts).map(([name, jwt]) => `  ${name}: ${jwt}`),
    `}`,
  ].join('\n');
}

function websocketBlock(host: string, port: number, tls: NatsTls | undefined): string {
  return `websocket { host: ${host}, port: ${port}, ${tls === undefined ? 'no_tls: true' : tlsBlock(tls)} }`;
}

function tlsBlock({ certFile, keyFile }: NatsTls): string {
  return `tls { cert_file: ${JSON.stringify(certFile)}, key_file: ${JSON.stringify(keyFile)} }`;
}
