/** A real Postgres of this test's own, on a free port, in a folder that goes away with it. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from '../../platform/chain/embedded.ts';
import { type Child, startProgram } from '../../platform/process/child.ts';
import { pause } from '../../platform/wait.ts';

/** Postgres refuses to run as root. Debian's package makes the first user; every system has the second. */
const USERS = ['postgres', 'nobody'];
/** A busy machine needs seconds for the first start; after this something is wrong. */
const START_MS = 60_000;
const RESTART_MS = 100;
const MAX_RESTARTS = 100;

export type PostgresServer = AsyncDisposable & {
  readonly pid: number;
  /** Makes an empty database and says how to reach it. */
  createDatabase(): Promise<string>;
  /** Ends the server at once, as a crash would; {@link PostgresServer.startAgain} starts it on the same port and folder. */
  kill(): Promise<void>;
  startAgain(): Promise<void>;
};

/** Starts a server with the settings of production: what is committed is on the disk. */
export async function startPostgres(): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-postgres-'));
  const data = join(folder, 'data');
  const as = process.getuid?.() === 0 ? await unprivileged() : undefined;
  if (as !== undefined) await chown(folder, as.uid, as.gid);
  const initdb = ['-D', data, '-U', 'tessera', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  await promisify(execFile)(program('initdb'), initdb, { ...as, cwd: folder });
  const port = await freePort();
  const start = (): Promise<Child> =>
    startProgram({
      name: 'postgres',
      command: program('postgres'),
      args: ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', ''],
      logFile: join(folder, 'postgres.log'),
      cwd: folder,
      ...as,
    });
  let server = await start();
  const url = (database: string): string => `postgres://tessera@127.0.0.1:${port}/${database}`;
  const stop = async (): Promise<void> => {
    await endFast(server);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilItAnswers(url('postgres'));
  } catch (error) {
    await stop();
    throw error;
  }
  let made = 0;
  return {
    get pid() {
      return server.pid;
    },
    async kill() {
      process.kill(server.pid, 'SIGKILL');
      await server.exited;
    },
    async startAgain() {
      // Until the last of its processes has noticed and gone, a new server refuses their folder.
      for (let tries = 0; ; tries++) {
        server = await start();
        const up = untilItAnswers(url('postgres')).then(
          () => true,
          () => false,
        );
        if (await Promise.race([up, server.exited.then(() => false)])) return;
        if (tries > MAX_RESTARTS) throw new Error('Postgres did not start again');
        await pause(RESTART_MS, new AbortController().signal);
      }
    },
    async createDatabase() {
      const name = `farm_${++made}`;
      await withClient(url('postgres'), (client) => client.query(`create database ${name}`));
      return url(name);
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** SIGINT is its "fast" end: SIGTERM would wait for connections that a killed program left behind. */
async function endFast(server: Child): Promise<void> {
  try {
    process.kill(server.pid, 'SIGINT');
    await server.exited;
  } catch {
    await server.stop();
  }
}

async function untilItAnswers(url: string): Promise<void> {
  const patience = AbortSignal.timeout(START_MS);
  for (;;) {
    try {
      await withClient(url, (client) => client.query('select 1'));
      return;
    } catch (error) {
      if (patience.aborted) throw new Error('Postgres did not start', { cause: error });
      await pause(50, patience);
    }
  }
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  // Else a server that ends first would end this process.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function unprivileged(): Promise<{ uid: number; gid: number }> {
  for (const user of USERS) {
    const ask = (flag: string) => promisify(execFile)('id', [flag, user]);
    const found = await Promise.all([ask('-u'), ask('-g')]).catch(() => null);
    if (found === null) continue;
    const [uid, gid] = found.map(({ stdout }) => Number(stdout));
    if (uid !== undefined && gid !== undefined) return { uid, gid };
  }
  throw new Error(`none of the users ${USERS.join(', ')} exists, and Postgres does not run as root`);
}

/** Debian keeps the servers' programs of each version in a folder of its own, which no PATH leads to. */
function program(name: string): string {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian)
    ? readdirSync(debian).map((version) => join(debian, version, 'bin'))
    : [];
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/bin', ...versions];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} is not installed (Debian: apt-get install postgresql)`);
  return found;
}
