/** One program of a build: its lines are progress, its end decides, an abort ends it and all it started. */
import { spawn } from 'node:child_process';
import { FarmError } from '../../../protocol/errors.ts';

/** A package manager's explanation fits; a build prints megabytes. */
const TAIL_CHARACTERS = 4_000;

export type Step = {
  command: string;
  parameters: string[];
  signal: AbortSignal;
  onLine: (line: string) => void;
};

/** Resolves with what it printed last. Throws IMAGE_BUILD_FAILED, DISK_FULL, INTERRUPTED or PROGRAM_NOT_FOUND. */
export async function runStep({ command, parameters, signal, onLine }: Step): Promise<string> {
  let tail = '';
  let rest = '';
  // An own process group, so that Ctrl-C reaches the command line tool and not the step behind its back.
  const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const end = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  };
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      tail = (tail + chunk).slice(-TAIL_CHARACTERS);
      const lines = (rest + chunk).split('\n');
      rest = (lines.pop() ?? '').slice(-TAIL_CHARACTERS);
      for (const line of lines) if (line.trim() !== '') onLine(line.trim());
    });
  }
  const code = await new Promise<number | null | Error>((resolve) => {
    child.once('error', resolve);
    child.once('close', resolve);
  });
  signal.removeEventListener('abort', end);
  const kept = 'no image was made';
  if (signal.aborted) throw new FarmError('INTERRUPTED', 'the image build was stopped', { kept });
  if (code instanceof Error) {
    throw new FarmError('PROGRAM_NOT_FOUND', `${command} could not be started: ${code.message}`, {
      cause: code,
      kept,
    });
  }
  if (code === 0) return tail;
  if (/no space left on device/i.test(tail)) {
    throw new FarmError('DISK_FULL', `no space left while making the image (${parameters.at(-3) ?? ''})`, {
      kept,
    });
  }
  throw new FarmError('IMAGE_BUILD_FAILED', `${command} ended with ${code}:\n${tail.trim()}`, { kept });
}
