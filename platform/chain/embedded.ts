/** The chain that a farm without a chain starts for itself: anvil, from the npm package, on the loopback address. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { pause } from '../wait.ts';
import { jsonRpc } from './json-rpc.ts';
import { keepStateCopies, prepareStateFile } from './state-file.ts';

export const EMBEDDED_CHAIN_ID = 31_337;

const READY_TIMEOUT_MS = 30_000;
const POLL_MS = 25;
/** anvil writes its state on SIGTERM; a large one takes a second or two. */
const STOP_TIMEOUT_MS = 15_000;

export type AnvilOptions = {
  port: number;
  /** The address to listen on; the loopback address when left out. Whoever reaches it can make money on it. */
  host?: string | undefined;
  stateFile: string;
  /** Gives the chain one account, without money, of this phrase: a mark to know the process by. */
  markPhrase?: string;
};

/**
 * The command that runs the chain, for a supervisor. Before every start it has to call `prepareStateFile`, and
 * `keepStateCopies` while it runs (both in state-file.ts); SIGTERM stops it and saves its state.
 */
export function anvilCommand({ port, host = '127.0.0.1', stateFile, markPhrase }: AnvilOptions): {
  command: string;
  args: string[];
} {
  return {
    command: anvilBinary(),
    args: [
      ...['--host', host, '--port', String(port), '--chain-id', String(EMBEDDED_CHAIN_ID)],
      ...['--state', stateFile, '--state-interval', '1'],
      // Keeps no state per old block in memory or in ~/.foundry; blocks and receipts stay.
      '--prune-history',
      // Without this any page in a browser on this machine could tell the chain to make money.
      '--no-cors',
      // No rich accounts with keys that everybody knows.
      ...(markPhrase === undefined
        ? ['--accounts', '0']
        : ['--accounts', '1', '--balance', '0', '--mnemonic', markPhrase]),
      '--quiet',
    ],
  };
}

/** The anvil program of this platform. Found through the packages' own files, so no install script is needed. */
export function anvilBinary(): string {
  const system = process.platform;
  const name = `@foundry-rs/anvil-${system}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
  try {
    // Through the wrapper package: the platform's package is its dependency and may be nested below it.
    const wrapper = createRequire(import.meta.url).resolve('@foundry-rs/anvil/package.json');
    return createRequire(wrapper).resolve(`${name}/bin/anvil${system === 'win32' ? '.exe' : ''}`);
  } catch (error) {
    throw new FarmError(
      'PROGRAM_NOT_FOUND',
      `anvil, the embedded chain, is not installed (npm package ${name})`,
      {
        cause: error,
      },
    );
  }
}

/** Resolves when the chain at `url` answers with the embedded chain's id. CHAIN_UNAVAILABLE after half a minute. */
export async function waitForChain(url: string, signal: AbortSignal): Promise<void> {
  const rpc = jsonRpc(url);
  const endMs = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      const chainId = Number(await rpc.call('eth_chainId', [], signal));
      if (chainId === EMBEDDED_CHAIN_ID) return;
      throw new FarmError('PORT_TAKEN', `at ${url} another chain answers (id ${chainId})`);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof FarmError && error.code === 'PORT_TAKEN') throw error;
      if (performance.now() > endMs) throw error;
    }
    await pause(POLL_MS, signal);
  }
}

export type EmbeddedChain = {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What `prepareStateFile` found. */
  readonly state: 'new' | 'kept' | 'restored' | 'lost';
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<void>;
  /** Saves the state and ends. */
  stop(): Promise<void>;
};

/** Starts a chain whose state lives in `stateFile`. It ends with `stop()` or when `signal` aborts. */
export async function startAnvil(options: {
  stateFile: string;
  port?: number;
  host?: string;
  signal: AbortSignal;
}): Promise<EmbeddedChain> {
  const { stateFile, signal, host } = options;
  signal.throwIfAborted();
  const state = await prepareStateFile(stateFile);
  const port = options.port === undefined || options.port === 0 ? await freePort() : options.port;
  // Only the process that was given this phrase has this account: the proof that the one that answers is ours.
  // Wallets bring all of ethers along, which every program would load for the sake of the one that starts a chain.
  const { HDNodeWallet } = await import('ethers/wallet');
  const mark = HDNodeWallet.createRandom();
  const { command, args } = anvilCommand({ port, host, stateFile, markPhrase: mark.mnemonic?.phrase });
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const { exited, lastWords } = watch(child);
  const stop = (): Promise<void> => stopChild(child, exited);
  const onAbort = (): void => void stop();
  signal.addEventListener('abort', onAbort, { once: true });
  const copying = new AbortController();
  const url = `http://127.0.0.1:${port}`;
  const starting = new AbortController();
  try {
    await Promise.race([
      waitForChain(url, AbortSignal.any([signal, starting.signal])),
      exited.then(() =>
        Promise.reject(new FarmError('CHAIN_UNAVAILABLE', `anvil ended at once: ${lastWords()}`)),
      ),
    ]);
    const accounts = z.array(z.string()).parse(await jsonRpc(url).call('eth_accounts', [], signal));
    if (accounts[0]?.toLowerCase() !== mark.address.toLowerCase()) {
      throw new FarmError('PORT_TAKEN', `another chain answers on port ${port}`);
    }
  } catch (error) {
    starting.abort();
    await stop();
    throw error;
  }
  const copies = keepStateCopies(stateFile, copying.signal);
  const ended = exited.then(async () => {
    signal.removeEventListener('abort', onAbort);
    copying.abort();
    await copies;
  });
  return {
    url,
    port,
    pid: child.pid ?? 0,
    state,
    exited: ended,
    async stop() {
      await stop();
      await ended;
    },
  };
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (typeof address === 'object' && address !== null) resolve(address.port);
        else reject(new FarmError('PORT_TAKEN', 'the system gave no free port'));
      });
    });
  });
}

function watch(child: ChildProcess): { exited: Promise<void>; lastWords: () => string } {
  let words = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text: string) => {
    words = (words + text).slice(-2_000);
  });
  const exited = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      words += error.message;
      resolve();
    });
    child.once('exit', () => resolve());
  });
  return { exited, lastWords: () => words.trim() };
}

async function stopChild(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
