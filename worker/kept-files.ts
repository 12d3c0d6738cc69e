/**
 * EXRs of whole frames that nobody has asked for yet. A node has committed to them, so they stay on its disk until
 * their batch is settled: without them a check that draws one of them fails (design, section 5, "Bytes").
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestSchema } from '../protocol/ids.ts';

const SUFFIX = '.exr';

export class KeptFiles {
  readonly #folder: string;
  readonly #kept: Set<Digest>;
  /** Of tasks that the farm has not taken yet: to it they would look like files that nobody needs. */
  readonly #unconfirmed = new Set<Digest>();

  private constructor(folder: string, kept: Set<Digest>) {
    this.#folder = folder;
    this.#kept = kept;
  }

  /** Finds what an earlier run of the node kept. */
  static async open(folder: string): Promise<KeptFiles> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const kept = new Set<Digest>();
    for (const name of await readdir(folder)) {
      const digest = digestSchema.safeParse(name.slice(0, -SUFFIX.length));
      if (digest.success && name.endsWith(SUFFIX)) kept.add(digest.data);
    }
    return new KeptFiles(folder, kept);
  }

  /** Takes a file of this digest over. To be confirmed, or dropped, once the farm has answered. */
  async keep(digest: Digest, path: string): Promise<void> {
    await rename(path, this.pathOf(digest));
    this.#unconfirmed.add(digest);
    this.#kept.add(digest);
  }

  confirm(digest: Digest): void {
    this.#unconfirmed.delete(digest);
  }

  async drop(digest: Digest): Promise<void> {
    this.#kept.delete(digest);
    this.#unconfirmed.delete(digest);
    await rm(this.pathOf(digest), { force: true });
  }

  has(digest: Digest): boolean {
    return this.#kept.has(digest);
  }

  /** Oldest first, at most `limit`, without those whose task is still being delivered. */
  confirmed(limit: number): Digest[] {
    return [...this.#kept].filter((digest) => !this.#unconfirmed.has(digest)).slice(0, limit);
  }

  pathOf(digest: Digest): string {
    return join(this.#folder, `${digest}${SUFFIX}`);
  }
}
