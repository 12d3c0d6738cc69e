/** A real nats-server on a free port, with the configuration that a farm gives it. */

import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import type { NatsConnection } from 'nats';
import { connectNats, waitForNats } from '../../platform/nats/connection.ts';
import { inboxPrefix, type NatsUser, natsServerConfig } from '../../platform/nats/server.ts';
import { startProgram } from '../../platform/process/child.ts';
import { tempFolder } from './temp-folder.ts';

const PASSWORD = 'correct-horse';
const USERS: NatsUser[] = [
  { user: 'coordinator', password: PASSWORD, role: 'coordinator' },
  { user: 'verifier', password: PASSWORD, role: 'verifier' },
  { user: 'node-1', password: PASSWORD, role: 'node' },
  { user: 'node-2', password: PASSWORD, role: 'node' },
];

export type NatsFixture = AsyncDisposable & {
  url: string;
  /** A connection as the programs make it; closed with the fixture. */
  as(user: string): Promise<NatsConnection>;
  /** Ends the server at once, as a crash would; {@link NatsFixture.startAgain} starts it on the same port and folder. */
  kill(): Promise<void>;
  startAgain(): Promise<void>;
};

export async function startNats(): Promise<NatsFixture> {
  const folder = await tempFolder();
  const port = await freePort();
  const url = `nats://127.0.0.1:${port}`;
  const config = join(folder.path, 'nats.conf');
  await writeFile(config, natsServerConfig({ port, storeFolder: join(folder.path, 'store'), users: USERS }), {
    mode: 0o600,
  });
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
    await waitForNats(url, 'coordinator', PASSWORD, new AbortController().signal);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    async as(user) {
      const connection = await connectNats({ url, user, password: PASSWORD }, user, inboxPrefix(user));
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
function program(name: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} is not installed`);
  return found;
}
