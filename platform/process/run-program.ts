/**
 * How every program of the farm lives: one abort signal for the whole process, first Ctrl-C ends in order, second at
 * once; and no program outlives the one that started it.
 */
import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { ERRORS, FarmError, toFarmError } from '../../protocol/errors.ts';
import { sayIfPossible } from '../log-destination.ts';

/** Told by a program to the one that started it. */
export type ProgramMessage =
  | { type: 'ready'; info: Record<string, string> }
  | { type: 'failed'; code: string; message: string };

/** A program that hangs while it ends is ended after this. */
const END_TIMEOUT_MS = 20_000;

const STDERR_FD = 2;

export type ProgramLife = {
  signal: AbortSignal;
  /** Tells the starter that the program works now. */
  ready: (info?: Record<string, string>) => void;
};

/** Runs a program's main part and sets the exit code. Ends when its parent goes away (the IPC channel closes). */
export async function runProgram(main: (life: ProgramLife) => Promise<void>): Promise<void> {
  const ending = new AbortController();
  const end = (): void => {
    if (ending.signal.aborted) return;
    ending.abort();
    setTimeout(() => process.exit(1), END_TIMEOUT_MS).unref();
  };
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  process.once('disconnect', end);
  try {
    await main({ signal: ending.signal, ready: (info = {}) => tell({ type: 'ready', info }) });
  } catch (error) {
    const failure = toFarmError(error);
    process.exitCode = ERRORS[failure.code].exitCode;
    tell({ type: 'failed', code: failure.code, message: failure.message });
    // A stream's error would come later and end the program with another exit code.
    sayIfPossible(STDERR_FD, `${failure.stack}\n`);
  } finally {
    process.off('disconnect', end);
    if (process.connected) process.disconnect();
  }
}

function tell(message: ProgramMessage): void {
  if (process.connected) process.send?.(message);
}

/** A configuration file as its schema says. */
export async function readConfigFile<S extends z.ZodType>(
  schema: S,
  path: string | undefined,
): Promise<z.output<S>> {
  if (path === undefined)
    throw new FarmError('USAGE', 'the program needs the path of its configuration file');
  const parsed = schema.safeParse(JSON.parse(await readFile(path, 'utf8')));
  if (!parsed.success) throw new FarmError('USAGE', `${path}: ${parsed.error.message}`);
  return parsed.data;
}
