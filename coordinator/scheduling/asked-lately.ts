/** Devices that asked for work lately: how many share it, and which job each had last. */
import type { JobId } from '../../protocol/ids.ts';

export class AskedLately {
  readonly #forMs: number;
  /** Longest ago first, as a map keeps its keys. */
  readonly #devices = new Map<string, { atMs: number; lastJob: JobId | null }>();

  /** Who has not asked for `forMs` is forgotten: it renders something long. */
  constructor(forMs: number) {
    this.#forMs = forMs;
  }

  get size(): number {
    return this.#devices.size;
  }

  /** Notes that it asks; says which job it had last. */
  note(device: string, atMs: number): JobId | null {
    const lastJob = this.#devices.get(device)?.lastJob ?? null;
    this.#devices.delete(device);
    this.#devices.set(device, { atMs, lastJob });
    for (const [other, before] of this.#devices) {
      if (Math.abs(atMs - before.atMs) <= this.#forMs) break;
      this.#devices.delete(other);
    }
    return lastJob;
  }

  /** It was given something of this job. */
  worksOn(device: string, job: JobId): void {
    const known = this.#devices.get(device);
    if (known !== undefined) known.lastJob = job;
  }
}
