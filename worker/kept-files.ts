/**
 * EXRs of whole frames that nobody has asked for yet. A node has committed to them, so they stay on its disk until
 * their batch is settled: without them a check that draws one of them fails (design, section 5, "Bytes").
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Mutex } from '../platform/mutex.ts';
import { type Digest, digestSchema } from '../protocol/ids.ts';

const SUFFIX = '.exr';

export class KeptFiles {
  readonly #folder: string;
  /** With the number of the last `keep`: two tasks can give the same file, in a job that is rendered twice even often. */
  readonly #kept: Map<Digest, number>;
  /** How many tasks with this file the farm has not answered yet: to it they would look like files that nobody needs. */
  readonly #unconfirmed = new Map<Digest, number>();
  /** A file that goes must not take the one that comes under the same name with it. */
  readonly #files = new Mutex();
  #keeps = 0;

  private constructor(folder: string, kept: Map<Digest, number>) {
    this.#folder = folder;
    this.#kept = kept;
  }

  /** Finds what an earlier run of the node kept. */
  static async open(folder: string): Promise<KeptFiles> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const kept = new Map<Digest, number>();
    for (const name of await readdir(folder)) {
      const digest = digestSchema.safeParse(name.slice(0, -SUFFIX.length));
      if (digest.success && name.endsWith(SUFFIX)) kept.set(digest.data, 0);
    }
    return new KeptFiles(folder, kept);
  }

  /** How often something was kept so far; see {@link drop}. */
  get keeps(): number {
    return this.#keeps;
  }

  /** Takes a file of this digest over. To be confirmed once the farm has answered, whatever it says. */
  async keep(digest: Digest, path: string): Promise<void> {
    this.#keeps += 1;
    // Before the file is there: from here on a farm that knew the digest from an earlier task must not end it.
    this.#kept.set(digest, this.#keeps);
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
      if ((this.#kept.get(digest) ?? 0) > asOf) return;
      this.#kept.delete(digest);
      await rm(this.pathOf(digest), { force: true });
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
