/**
 * EXRs of whole frames that nobody has asked for yet. A node has committed to them, so they stay on its disk until
 * their batch is settled: without them a check that draws one of them fails (design, section 5, "Bytes").
 */
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Mutex } from '../platform/mutex.ts';
import { aborted } from '../platform/wait.ts';
import { type Digest, digestSchema } from '../protocol/ids.ts';

const SUFFIX = '.exr';

/**
 * What may be kept before a node takes no more work. A batch has up to 64 frames, a large one's EXR is some 300 MB, and
 * while one batch is checked the next is rendered.
 */
const DEFAULT_BUDGET_BYTES = 40 * 2 ** 30;

type Kept = {
  /** The number of the last `keep`: two tasks can give the same file, in a job that is rendered twice even often. */
  number: number;
  bytes: number;
};

export class KeptFiles {
  readonly #folder: string;
  readonly #budgetBytes: number;
  readonly #kept: Map<Digest, Kept>;
  /** How many tasks with this file the farm has not answered yet: to it they would look like files that nobody needs. */
  readonly #unconfirmed = new Map<Digest, number>();
  /** A file that goes must not take the one that comes under the same name with it. */
  readonly #files = new Mutex();
  readonly #waitingForRoom = new Set<() => void>();
  #keeps = 0;
  #bytes = 0;

  private constructor(folder: string, kept: Map<Digest, Kept>, budgetBytes: number) {
    this.#folder = folder;
    this.#kept = kept;
    this.#budgetBytes = budgetBytes;
    for (const { bytes } of kept.values()) this.#bytes += bytes;
  }

  /** Finds what an earlier run of the node kept. */
  static async open(folder: string, budgetBytes = DEFAULT_BUDGET_BYTES): Promise<KeptFiles> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const found: { digest: Digest; bytes: number; keptAtMs: number }[] = [];
    for (const name of await readdir(folder)) {
      const digest = digestSchema.safeParse(name.slice(0, -SUFFIX.length));
      if (!digest.success || !name.endsWith(SUFFIX)) continue;
      const { size, mtimeMs } = await stat(join(folder, name));
      found.push({ digest: digest.data, bytes: size, keptAtMs: mtimeMs });
    }
    found.sort((a, b) => a.keptAtMs - b.keptAtMs);
    const kept = new Map(found.map(({ digest, bytes }) => [digest, { number: 0, bytes }]));
    return new KeptFiles(folder, kept, budgetBytes);
  }

  /** How much is kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether more may be kept. */
  get hasRoom(): boolean {
    return this.#bytes < this.#budgetBytes;
  }

  /**
   * Waits until there is room. What is settled goes as soon as the farm says so, oldest first; all the rest may still
   * be drawn, and dropping it would cost the node its batch. So a full folder stops the work, not the proofs.
   */
  async untilRoom(signal: AbortSignal): Promise<void> {
    while (!this.hasRoom && !signal.aborted) {
      const room = new AbortController();
      const wake = (): void => room.abort();
      this.#waitingForRoom.add(wake);
      await aborted(AbortSignal.any([signal, room.signal]));
      this.#waitingForRoom.delete(wake);
    }
  }

  /** How often something was kept so far; see {@link drop}. */
  get keeps(): number {
    return this.#keeps;
  }

  /** Takes a file of this digest over. To be confirmed once the farm has answered, whatever it says. */
  async keep(digest: Digest, path: string): Promise<void> {
    const { size } = await stat(path);
    this.#keeps += 1;
    this.#bytes += size - (this.#kept.get(digest)?.bytes ?? 0);
    // Before the file is there: from here on a farm that knew the digest from an earlier task must not end it.
    this.#kept.set(digest, { number: this.#keeps, bytes: size });
    this.#unconfirmed.set(digest, (this.#unconfirmed.get(digest) ?? 0) + 1);
    await this.#files.run(() => rename(path, this.pathOf(digest)));
  }

  /** The farm has answered: from now on it is the farm that says whether the file is needed. */
  confirm(digest: Digest): void {
    const left = (this.#unconfirmed.get(digest) ?? 0) - 1;
    if (left > 0) this.#unconfirmed.set(digest, left);
    else this.#unconfirmed.delete(digest);
  }

  /** Forgets a file, unless it was kept once more after {@link keeps} was `asOf`: the farm did not know that then. */
  async drop(digest: Digest, asOf: number): Promise<void> {
    await this.#files.run(async () => {
      const kept = this.#kept.get(digest);
      if (kept !== undefined && kept.number > asOf) return;
      this.#kept.delete(digest);
      await rm(this.pathOf(digest), { force: true });
      this.#bytes -= kept?.bytes ?? 0;
      if (this.hasRoom) for (const wake of [...this.#waitingForRoom]) wake();
    });
  }

  has(digest: Digest): boolean {
    return this.#kept.has(digest);
  }

  /** Oldest first, at most `limit`, without those whose task is still being delivered. */
  confirmed(limit: number): Digest[] {
    return [...this.#kept.keys()].filter((digest) => !this.#unconfirmed.has(digest)).slice(0, limit);
  }

  pathOf(digest: Digest): string {
    return join(this.#folder, `${digest}${SUFFIX}`);
  }
}
