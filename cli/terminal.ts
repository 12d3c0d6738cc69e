/** What a command needs of the world around it, so that tests can hand in another one. */
import type { Output } from './progress-line.ts';

export type Terminal = {
  /** Progress and notes: stderr, so that stdout holds results only. */
  err: Output;
  /** A line for people. */
  say(text: string): void;
  /** The result, on stdout. */
  result(text: string): void;
  environment: NodeJS.ProcessEnv;
  now(): number;
  signal: AbortSignal;
};

export function processTerminal(signal: AbortSignal): Terminal {
  return {
    err: process.stderr,
    say: (text) => void process.stderr.write(`${text}\n`),
    result: (text) => void process.stdout.write(`${text}\n`),
    environment: process.env,
    now: () => Date.now(),
    signal,
  };
}
