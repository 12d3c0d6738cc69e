/** The `nats-server` that an embedded farm starts: its configuration, and nothing else. */
import { MAX_MESSAGE_BYTES } from './connection.ts';

export type NatsUser = { user: string; password: string; role: 'coordinator' | 'node' | 'verifier' };

/**
 * Configuration text. Nodes and verifiers may publish below their own name and listen to their own inbox, and
 * nothing else: not to JetStream, not to each other. Listens on the loopback address only.
 */
export function natsServerConfig(options: { port: number; storeFolder: string; users: NatsUser[] }): string {
  const users = options.users.map(
    ({ user, password, role }) =>
      `    { user: ${JSON.stringify(user)}, password: ${JSON.stringify(password)}${permissions(user, role)} }`,
  );
  return [
    `host: 127.0.0.1`,
    `port: ${options.port}`,
    `max_payload: ${MAX_MESSAGE_BYTES}`,
    `jetstream { store_dir: ${JSON.stringify(options.storeFolder)}, max_memory_store: 64MB }`,
    `authorization {`,
    `  users: [`,
    users.join('\n'),
    `  ]`,
    `}`,
    '',
  ].join('\n');
}

function permissions(user: string, role: NatsUser['role']): string {
  if (role === 'coordinator') return '';
  return `, permissions: { publish: ${JSON.stringify(`${role}.${user}.>`)}, subscribe: ${JSON.stringify(`${inboxPrefix(user)}.>`)} }`;
}

/** Where replies to `user` arrive. */
export function inboxPrefix(user: string): string {
  return `_INBOX_${user}`;
}
