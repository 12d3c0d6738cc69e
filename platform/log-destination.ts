/**
 * Where log lines go: into a file descriptor, at once. A queue in memory would lose its lines when the program dies, and one
 * that is emptied at exit keeps a program on a full disk from ever ending. What cannot be written is lost, counted, and
 * told when writing works again: a program that cannot log still does its work.
 */
import { writeSync } from 'node:fs';
import { errorCode } from './files.ts';

/** A reader that is slow to empty a pipe gets this long, once: then lines are lost rather than the program kept waiting. */
const PATIENCE_MS = 500;
const RETRY_MS = 10;

const NEWLINE = 0x0a;

export class LogDestination {
  readonly #fd: number;
  readonly #onRegained: (linesLost: number) => void;
  #linesLost = 0;
  /** Whether the last line that was begun has no end. */
  #torn = false;

  /** `onRegained` is told, once, how many lines are missing when a line can be written after some that could not. */
  constructor(fd: number, onRegained: (linesLost: number) => void) {
    this.#fd = fd;
    this.#onRegained = onRegained;
  }

  /** Writes one line, which ends with a newline. Never throws. */
  write(line: string): void {
    if (!this.#tryWrite(Buffer.from(this.#torn ? `\n${line}` : line))) {
      this.#linesLost += 1;
      return;
    }
    const linesLost = this.#linesLost;
    this.#linesLost = 0;
    if (linesLost > 0) this.#onRegained(linesLost);
  }

  #tryWrite(bytes: Buffer): boolean {
    let offset = 0;
    // Who lost lines already does not wait again: a reader that hangs would cost the wait with each line.
    let patienceMs = this.#linesLost > 0 ? 0 : PATIENCE_MS;
    while (offset < bytes.length) {
      try {
        offset += writeSync(this.#fd, bytes, offset);
      } catch (error) {
        if (errorCode(error) === 'EAGAIN' && patienceMs > 0) {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
          patienceMs -= RETRY_MS;
          continue;
        }
        if (offset > 0) this.#torn = bytes[offset - 1] !== NEWLINE;
        return false;
      }
    }
    this.#torn = false;
    return true;
  }
}

/** Says something to `fd` if that can be done, for what is said beside the log. */
export function sayIfPossible(fd: number, text: string): void {
  try {
    writeSync(fd, text);
  } catch {
    // There is nobody left to tell.
  }
}
