/** A question whose answer is not shown. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { FarmError } from '../protocol/errors.ts';

/** Null where nobody is there to be asked: input that is no terminal is not read. */
export async function askSecret(question: string, signal: AbortSignal): Promise<string | null> {
  if (!process.stdin.isTTY) return null;
  process.stderr.write(question);
  // What is typed would be echoed to its output: that is nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  const ending = new AbortController();
  // While lines are read, Ctrl-C is a key and no signal.
  lines.on('SIGINT', () => ending.abort());
  lines.on('close', () => ending.abort());
  try {
    return await lines.question('', { signal: AbortSignal.any([signal, ending.signal]) });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new FarmError('INTERRUPTED', 'no password was given', { cause: error });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
