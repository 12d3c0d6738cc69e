/** Children of the farm: started with their output in a log file, ended in order, watched. */
import { type ChildProcess, spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { errorCodeOf, FarmError } from '../../protocol/errors.ts';
import type { ProgramMessage } from './run-program.ts';

/** A running child. */
export type Child = {
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason. */
  readonly exited: Promise<string>;
  stop(): Promise<void>;
};

export type ChildCommand = {
  name: string;
  command: string;
  args: string[];
  logFile: string;
  cwd?: string;
  /** Another user to run as, which only root may ask for. */
  uid?: number;
  gid?: number;
};

const STOP_TIMEOUT_MS = 20_000;
/** Seconds on a quiet machine; a coordinator on a very busy one was seen to take a minute for its first database. */
const READY_TIMEOUT_MS = 180_000;
const LOG_TAIL_BYTES = 2_000;

/** Starts a foreign program. It counts as running at once; callers wait for what they need of it. */
export async function startProgram(options: ChildCommand): Promise<Child> {
  const child = await spawnLogged(options, false);
  return running(child);
}

/**
 * Starts one of our own programs and waits until it says that it works. Throws the error it ended with, or INTERNAL
 * with the end of its log.
 */
export async function startOwnProgram(
  options: ChildCommand,
): Promise<Child & { info: Record<string, string> }> {
  const child = await spawnLogged(options, true);
  const handle = running(child);
  const info = await new Promise<Record<string, string>>((resolve, reject) => {
    const timer = setTimeout(() => fail('did not start in time'), READY_TIMEOUT_MS);
    const fail = (what: string): void => {
      clearTimeout(timer);
      void tailOf(options.logFile).then((tail) =>
        reject(new FarmError('INTERNAL', `${options.name} ${what}; the end of ${options.logFile}:\n${tail}`)),
      );
    };
    child.on('message', (message: ProgramMessage) => {
      clearTimeout(timer);
      if (message.type === 'ready') return resolve(message.info);
      reject(new FarmError(errorCodeOf(message.code), `${options.name}: ${message.message}`));
    });
    void handle.exited.then((how) => fail(how));
  }).catch(async (error: unknown) => {
    await handle.stop();
    throw error;
  });
  return { ...handle, info };
}

async function spawnLogged(options: ChildCommand, ipc: boolean): Promise<ChildProcess> {
  const log = await open(options.logFile, 'a', 0o600);
  try {
    const child = spawn(options.command, options.args, {
      // Own process group: Ctrl-C in a terminal reaches the farm alone, which then ends its children in order.
      detached: true,
      cwd: options.cwd,
      uid: options.uid,
      gid: options.gid,
      stdio: ['ignore', log.fd, log.fd, ...(ipc ? (['ipc'] as const) : [])],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) =>
        reject(
          new FarmError('PROGRAM_NOT_FOUND', `${options.command} could not be started: ${error.message}`, {
            cause: error,
          }),
        ),
      );
    });
    return child;
  } finally {
    await log.close();
  }
}

function running(child: ChildProcess): Child {
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `ended with code ${code}` : `was ended by ${signal}`),
    );
  });
  return {
    pid: child.pid ?? 0,
    exited,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}

async function tailOf(path: string): Promise<string> {
  const bytes = await readFile(path).catch(() => Buffer.alloc(0));
  return bytes.subarray(-LOG_TAIL_BYTES).toString('utf8');
}
