/** Three real message servers that keep the same list, on free ports, in a folder of whoever starts them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Authority, coordinatorCredential, serverTrust } from '../../platform/nats/authority.ts';
import { waitForNats } from '../../platform/nats/connection.ts';
import { natsServerConfig } from '../../platform/nats/server.ts';
import { type Child, startProgram } from '../../platform/process/child.ts';
import { freePort, program } from '../platform/nats-server-fixture.ts';

const { signal: never } = new AbortController();

export type NatsCluster = AsyncDisposable & {
  /** All of them, as programs are told them. */
  readonly url: string;
  readonly urls: readonly string[];
  /** Ends one at once, as a crash would; {@link NatsCluster.startAgain} starts it on the same ports and folder. */
  kill(index: number): Promise<void>;
  startAgain(index: number): Promise<void>;
};

export async function startNatsCluster(folder: string, authority: Authority, size = 3): Promise<NatsCluster> {
  const trust = await serverTrust(authority);
  const places: { port: number; route: number }[] = [];
  for (let index = 0; index < size; index++) places.push({ port: await freePort(), route: await freePort() });
  const urls = places.map(({ port }) => `nats://127.0.0.1:${port}`);
  const routes = places.map(({ route }) => `nats://127.0.0.1:${route}`);
  const start = async (index: number): Promise<Child> => {
    const name = `server-${index + 1}`;
    const place = places[index] ?? { port: 0, route: 0 };
    const own = join(folder, name);
    await mkdir(own, { recursive: true });
    const config = natsServerConfig({
      port: place.port,
      storeFolder: join(own, 'store'),
      trust,
      cluster: { serverName: name, name: 'farm', port: place.route, routes },
    });
    await writeFile(join(own, 'nats.conf'), config, { mode: 0o600 });
    return await startProgram({
      name,
      command: program('nats-server'),
      args: ['-c', join(own, 'nats.conf')],
      logFile: join(own, 'nats.log'),
    });
  };
  const untilUp = async (index: number): Promise<void> => {
    const url = urls[index] ?? '';
    await waitForNats({ url }, await coordinatorCredential(authority.account), never);
  };
  const servers = await Promise.all(urls.map((_, index) => start(index)));
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    await Promise.all(urls.map((_, index) => untilUp(index)));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: urls.join(','),
    urls,
    async kill(index) {
      const server = servers[index];
      if (server === undefined) throw new Error(`no server ${index}`);
      process.kill(server.pid, 'SIGKILL');
      await server.exited;
    },
    async startAgain(index) {
      servers[index] = await start(index);
      await untilUp(index);
    },
    [Symbol.asyncDispose]: stop,
  };
}
