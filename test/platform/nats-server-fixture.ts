/** A real nats-server on a free port, with the configuration that a farm gives it. */

import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import type { NatsConnection } from 'nats';
import {
  type Authority,
  coordinatorCredential,
  memberToken,
  type NatsCredential,
  newAuthority,
  newNatsUser,
  serverTrust,
} from '../../platform/nats/authority.ts';
import { connectNats, type NatsServer, waitForNats } from '../../platform/nats/connection.ts';
import { type NatsServerOptions, natsServerConfig } from '../../platform/nats/server.ts';
import { startProgram } from '../../platform/process/child.ts';
import { nodeIdSchema } from '../../protocol/ids.ts';
import { tempFolder } from './temp-folder.ts';

/** Longer than any test. */
const TOKEN_MS = 600_000;

export type NatsFixture = AsyncDisposable & {
  url: string;
  /** Whom the server trusts. */
  authority: Authority;
  /** What the farm would give this user: coordinator, verifier or a node. */
  credential(user: string, expiresAtMs?: number): Promise<NatsCredential>;
  /** A connection as the programs make it; closed with the fixture. */
  as(user: string): Promise<NatsConnection>;
  /** Ends the server at once, as a crash would; {@link NatsFixture.startAgain} starts it on the same port and folder. */
  kill(): Promise<void>;
  startAgain(): Promise<void>;
};

/** `caFile` is what the fixture's own connections trust. */
export type NatsFixtureOptions = Pick<NatsServerOptions, 'tls' | 'websocketPort'> &
  Pick<NatsServer, 'caFile'>;

export async function startNats({ caFile, ...listening }: NatsFixtureOptions = {}): Promise<NatsFixture> {
  const folder = await tempFolder();
  const authority = newAuthority();
  const credential: NatsFixture['credential'] = async (user, expiresAtMs = Date.now() + TOKEN_MS) => {
    if (user === 'coordinator') return await coordinatorCredential(authority.account);
    const { natsUser, seed } = newNatsUser();
    const role = user.startsWith('verifier') ? 'verifier' : 'node';
    const member = { role, id: nodeIdSchema.parse(user), natsUser } as const;
    return { jwt: await memberToken(authority.account, member, expiresAtMs), seed };
  };
  const port = await freePort();
  const url = `nats://127.0.0.1:${port}`;
  const config = join(folder.path, 'nats.conf');
  const trust = await serverTrust(authority);
  await writeFile(
    config,
    natsServerConfig({ port, storeFolder: join(folder.path, 'store'), trust, ...listening }),
    { mode: 0o600 },
  );
  const start = () =>
    startProgram({
      name: 'nats-server',
      command: program('nats-server'),
      args: ['-c', config],
      logFile: join(folder.path, 'nats.log'),
    });
  let server = await start();
  const connections: NatsConnection[] = [];
  const stop = async (): Promise<void> => {
    for (const connection of connections) await connection.close();
    await server.stop();
    await folder[Symbol.asyncDispose]();
  };
  try {
    await waitForNats({ url, caFile }, await credential('coordinator'), new AbortController().signal);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    authority,
    credential,
    async as(user) {
      const own = await credential(user);
      const connection = await connectNats({ url, caFile }, user, () => own);
      connections.push(connection);
      return connection;
    },
    async kill() {
      process.kill(server.pid, 'SIGKILL');
      await server.exited;
    },
    async startAgain() {
      server = await start();
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Debian installs servers where a user's PATH may not lead. */
export function program(name: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} is not installed`);
  return found;
}
