/** One line that says how far a job is: rewritten in place on a terminal, a new line now and then elsewhere. */
import type { JobView } from '../protocol/job.ts';
import { formatTokens } from './render/parse-options.ts';

/** Without a terminal a line at most this often, so that a log of a night's render stays readable. */
const PLAIN_INTERVAL_MS = 5_000;

export type Output = { write(text: string): unknown; isTTY?: boolean; columns?: number };

export class ProgressLine {
  readonly #output: Output;
  readonly #now: () => number;
  #lastMs = Number.NEGATIVE_INFINITY;
  #last = '';

  constructor(output: Output, now: () => number) {
    this.#output = output;
    this.#now = now;
  }

  show(text: string): void {
    if (text === this.#last) return;
    if (this.#output.isTTY) {
      const width = Math.max(20, this.#output.columns ?? 80) - 1;
      this.#output.write(`\r\u001b[2K${text.slice(0, width)}`);
    } else {
      if (this.#now() - this.#lastMs < PLAIN_INTERVAL_MS) return;
      this.#output.write(`${text}\n`);
    }
    this.#lastMs = this.#now();
    this.#last = text;
  }

  /** Takes the line away, so that other text can be printed. */
  clear(): void {
    if (this.#output.isTTY && this.#last !== '') this.#output.write('\r\u001b[2K');
    this.#last = '';
  }
}

/** `frames 3/8  tiles 41/64  62 %  ETA 0:41  spent 1.204 of 2.100 TESS` */
export function progressText(job: JobView, nowMs: number): string {
  const parts = [
    ...counts(job),
    `${Math.floor(job.progress * 100)} %`,
    eta(job, nowMs),
    `spent ${formatTokens(job.spent)} of ${formatTokens(job.quote)} TESS`,
  ];
  return parts.filter((part) => part !== '').join('  ');
}

/** Whole frames are there before they are checked; of tiled ones the tiles tell how far they are. */
function counts({ tasks, spec, framesDone }: JobView): string[] {
  const perFrame = spec.tiles.columns * spec.tiles.rows;
  const frames = spec.frames.length;
  const made = tasks.delivered + tasks.verified;
  if (perFrame === 1) return [`frames ${made}/${frames}`, `checked ${framesDone}/${frames}`];
  const tiles = Math.min(frames * perFrame, Math.max(0, made - framesDone));
  return [`frames ${framesDone}/${frames}`, `tiles ${tiles}/${frames * perFrame}`];
}

/** Before this share is done the speed so far says nothing. */
const ETA_FROM = 0.02;

function eta(job: JobView, nowMs: number): string {
  if (job.state === 'opening') return 'funding the escrow';
  if (job.progress < ETA_FROM) return '';
  if (job.progress >= 1) return job.escrow === 'closed' ? '' : 'checking and settling';
  const leftMs = ((nowMs - job.createdAtMs) * (1 - job.progress)) / job.progress;
  const seconds = Math.ceil(leftMs / 1_000);
  return `ETA ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
