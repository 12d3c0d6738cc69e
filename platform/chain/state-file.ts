/**
 * The embedded chain's memory. anvil rewrites its state file in place every second (truncate, then write), so a
 * kill -9 or a power cut in that moment leaves half a file. Beside it lies a copy that is only ever replaced whole.
 */

import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { errorCode, writeFileAtomic } from '../files.ts';
import { pause } from '../wait.ts';

/** How often a running chain's state is copied, if it has new blocks. */
const COPY_INTERVAL_MS = 5_000;
const POLL_MS = 100;

/** The last thing anvil writes; checked, since a whole file is parsed only at a start. */
const TAIL = Buffer.from('"historical_states":null}');

/** Where the copy of a state file lies. */
export function copyOf(stateFile: string): string {
  return `${stateFile}.copy`;
}

/**
 * Makes sure that anvil finds a whole state file, or none; to be called before every start. Of the file and its
 * copy the whole one with more blocks is taken. `lost`: there was a file and neither was whole; it was set aside as
 * `FILE.broken` and the chain starts empty.
 */
export async function prepareStateFile(stateFile: string): Promise<'new' | 'kept' | 'restored' | 'lost'> {
  await mkdir(dirname(stateFile), { recursive: true, mode: 0o700 });
  const [file, copy] = await Promise.all([readState(stateFile), readState(copyOf(stateFile))]);
  if (copy.block !== null && (file.block === null || copy.block > file.block)) {
    await writeFileAtomic(stateFile, copy.content);
    return 'restored';
  }
  if (file.block !== null) return 'kept';
  if (!file.exists) return 'new';
  await rename(stateFile, `${stateFile}.broken`);
  return 'lost';
}

/**
 * Copies the state of a running chain every few seconds until `signal` aborts; then once more. Never rejects: what
 * goes wrong (a full disk) goes to `onError`, and the copy from before stays as it is.
 */
export async function keepStateCopies(
  stateFile: string,
  signal: AbortSignal,
  onError: (error: unknown) => void = () => undefined,
): Promise<void> {
  while (!signal.aborted) {
    await pause(COPY_INTERVAL_MS, signal);
    await copyState(stateFile).catch(onError);
  }
}

/** anvil writes its file every second; when it has not for this long it cannot (a full disk, a chain that is down). */
const COPY_TIMEOUT_MS = 30_000;

/**
 * Resolves when block `blockNumber` is in the copy: from then on it survives kill -9 of anything at any moment.
 * Takes about a second, which is how often anvil writes its file.
 */
export async function waitUntilCopied(
  stateFile: string,
  blockNumber: bigint,
  signal: AbortSignal,
): Promise<void> {
  const endMs = performance.now() + COPY_TIMEOUT_MS;
  for (;;) {
    signal.throwIfAborted();
    if (performance.now() > endMs) {
      throw new FarmError(
        'CHAIN_UNAVAILABLE',
        `the chain has not saved block ${blockNumber}; was it killed, or is its disk full?`,
      );
    }
    if ((await blockOf(copyOf(stateFile))) >= blockNumber) return;
    if ((await blockOf(stateFile)) >= blockNumber && (await copyState(stateFile)) >= blockNumber) return;
    await pause(POLL_MS, signal);
  }
}

/** One copy at a time per file, or an older one could replace a newer one. */
const queues = new Map<string, Promise<unknown>>();

/** Replaces the copy if the file is whole and has more blocks; returns the newest block known to be copied. */
function copyState(stateFile: string): Promise<bigint> {
  const copyNow = async (): Promise<bigint> => {
    const copied = await blockOf(copyOf(stateFile));
    if ((await blockOf(stateFile)) <= copied) return copied;
    const content = await readFile(stateFile);
    const block = blockIn(content);
    // Read while anvil was writing: it is whole again a few milliseconds later.
    if (block === null || block <= copied || !content.subarray(-64).includes(TAIL)) return copied;
    await writeFileAtomic(copyOf(stateFile), content);
    return block;
  };
  const turn = (queues.get(stateFile) ?? Promise.resolve()).then(copyNow);
  queues.set(
    stateFile,
    turn.catch(() => undefined),
  );
  return turn;
}

const stateSchema = z.object({ block: z.object({ number: z.union([z.string(), z.number()]) }) });

async function readState(path: string): Promise<{ exists: boolean; content: Buffer; block: bigint | null }> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { exists: false, content: Buffer.alloc(0), block: null };
    throw error;
  }
  try {
    const { block } = stateSchema.parse(JSON.parse(content.toString('utf8')));
    return { exists: true, content, block: BigInt(block.number) };
  } catch {
    return { exists: true, content, block: null };
  }
}

/** The newest block in a state file by its first bytes, or -1 when there is none to be read. */
async function blockOf(path: string): Promise<bigint> {
  try {
    const file = await open(path, 'r');
    try {
      const head = Buffer.alloc(64);
      const { bytesRead } = await file.read(head, 0, head.length, 0);
      return blockIn(head.subarray(0, bytesRead)) ?? -1n;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return -1n;
    throw error;
  }
}

function blockIn(content: Buffer): bigint | null {
  const match = /^\{"block":\{"number":"(0x[0-9a-f]+)"/.exec(content.subarray(0, 64).toString('latin1'));
  return match?.[1] === undefined ? null : BigInt(match[1]);
}
