/**
 * Runs ffmpeg in a bubble. It decodes bytes of strangers, so it has no network, no privileges, and sees the frames
 * read-only and one folder for what it writes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { FarmError } from '../../protocol/errors.ts';
import { findProgram, findSandbox } from '../render/process/programs.ts';
import { bubbleArguments } from '../render/process/sandbox.ts';
import { Tail } from '../render/session/words.ts';

export type Ffmpeg = { path: string; bwrap: string; prlimit: string | undefined };

/** Where the folders are inside. */
export const INPUT = '/frames';
export const OUTPUT = '/movie';

/** One frame of the largest size takes seconds; what shows no new frame for so long hangs. Disks and CPUs are shared. */
const STALL_MS = 300_000;
/** Nothing of ours goes to /tmp inside; some libraries want a little. */
const SCRATCH_BYTES = 64 * 2 ** 20;
/** Its progress lines are short; whatever else comes is not kept. */
const MAX_LINE = 600;

export type FfmpegRun = {
  /** Host folder with the frames, or with the pieces. */
  input: string;
  /** Host folder that may be written to; none where nothing is. */
  output?: string;
  parameters: readonly string[];
  limits: { fileBytes: number; addressSpaceBytes: number };
  signal: AbortSignal;
  /** Frames that have come out so far. */
  onFrames?: (count: number) => void;
};

/** How it ended. Some damaged pictures end ffmpeg with code 0 and fewer frames, so both have to be looked at. */
export type FfmpegResult = { frames: number; ok: boolean; words: string };

/** Throws FFMPEG_NOT_FOUND or SANDBOX_NOT_FOUND. */
export async function findFfmpeg(folders?: readonly string[]): Promise<Ffmpeg> {
  const [path, bwrap, prlimit] = await Promise.all([
    findProgram('ffmpeg', folders),
    findSandbox(folders),
    findProgram('prlimit', folders),
  ]);
  if (path === undefined) throw new FarmError('FFMPEG_NOT_FOUND', 'ffmpeg is not installed');
  return { path, bwrap, prlimit };
}

/** Throws INTERRUPTED when aborted, MOVIE_FAILED when it hangs; every other end is told in the result. */
export async function runFfmpeg(tools: Ffmpeg, run: FfmpegRun): Promise<FfmpegResult> {
  if (run.signal.aborted) throw new FarmError('INTERRUPTED', 'stopped before it began');
  const binds = [{ host: run.input, inside: INPUT }];
  const writable = run.output === undefined ? [] : [{ host: run.output, inside: OUTPUT, writable: true }];
  const bubble = {
    programPath: tools.path,
    binds: [...binds, ...writable],
    limits: { ...run.limits, scratchBytes: SCRATCH_BYTES },
    prlimitPath: tools.prlimit,
  };
  const common = ['-nostdin', '-hide_banner', '-loglevel', 'error', '-nostats', '-progress', 'pipe:1'];
  // An own process group, so that Ctrl-C reaches this program first, which then ends it.
  const child = spawn(tools.bwrap, bubbleArguments(bubble, [...common, ...run.parameters]), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {},
    detached: true,
  });
  return await watch(child, run);
}

function watch(child: ChildProcess, { signal, onFrames }: FfmpegRun): Promise<FfmpegResult> {
  const words = new Tail();
  let frames = 0;
  let stalled = false;
  const kill = (): void => killGroup(child);
  const onStall = (): void => {
    stalled = true;
    kill();
  };
  let timer = setTimeout(onStall, STALL_MS);
  signal.addEventListener('abort', kill, { once: true });
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = (lines.pop() ?? '').slice(-MAX_LINE);
    for (const line of lines) {
      const count = Number(/^frame=\s*(\d+)/.exec(line)?.[1] ?? Number.NaN);
      if (!(count > frames)) continue;
      frames = count;
      clearTimeout(timer);
      timer = setTimeout(onStall, STALL_MS);
      onFrames?.(frames);
    }
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => words.add(chunk));
  return new Promise((resolve, reject) => {
    const end = (code: number | null, how: string): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      if (signal.aborted) reject(new FarmError('INTERRUPTED', 'stopped while encoding'));
      else if (stalled)
        reject(new FarmError('MOVIE_FAILED', `ffmpeg made no frame for ${STALL_MS / 1_000} s`));
      else resolve({ frames, ok: code === 0, words: words.lastWords() || how });
    };
    child.once('error', (error) => end(null, error.message));
    // 'close' comes when its last word was read.
    child.once('close', (code, name) =>
      end(code, name === null ? `it ended with code ${code}` : `ended by ${name}`),
    );
  });
}

/** bubblewrap's child is the first process of its namespace: it, and everything in it, dies with bubblewrap. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}
