/** What a command needs of the world around it, so that tests can hand in another one. */
import { askSecret } from './ask-secret.ts';
import type { Output } from './progress-line.ts';

export type Terminal = {
  /** Progress and notes: stderr, so that stdout holds results only. */
  err: Output;
  /** A line for people. */
  say(text: string): void;
  /** The result, on stdout. */
  result(text: string): void;
  /** Asks without showing what is typed; null where nobody is there. */
  askSecret(question: string): Promise<string | null>;
  environment: NodeJS.ProcessEnv;
  now(): number;
  signal: AbortSignal;
};

export function processTerminal(signal: AbortSignal): Terminal {
  return {
    err: process.stderr,
    say: (text) => void process.stderr.write(`${text}\n`),
    result: (text) => void process.stdout.write(`${text}\n`),
    askSecret: (question) => askSecret(question, signal),
    environment: process.env,
    now: () => Date.now(),
    signal,
  };
}
