/**
 * Leaves of the receipts this node has signed. The coordinator hands a batch's leaves back before each new signature;
 * a node signs only over leaves it finds here, so nobody can slip in work it has not done. On disk, so that a node
 * that is started again goes on with the batch it was filling.
 */
import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode } from '../platform/files.ts';
import { type Bytes32, bytes32Schema } from '../protocol/ids.ts';

export class ReceiptJournal {
  readonly #path: string;
  readonly #leaves: Set<string>;

  private constructor(path: string, leaves: Set<string>) {
    this.#path = path;
    this.#leaves = leaves;
  }

  static async open(path: string): Promise<ReceiptJournal> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    let text = '';
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    // A crash can cut the last line short; half a leaf is no leaf.
    return new ReceiptJournal(
      path,
      new Set(text.split('\n').filter((line) => bytes32Schema.safeParse(line).success)),
    );
  }

  async add(leaves: readonly Bytes32[]): Promise<void> {
    const news = leaves.filter((leaf) => !this.#leaves.has(leaf));
    if (news.length === 0) return;
    await appendFile(this.#path, news.map((leaf) => `${leaf}\n`).join(''), { mode: 0o600 });
    for (const leaf of news) this.#leaves.add(leaf);
  }

  /** Whether every one of these was signed here. */
  knowsAll(leaves: readonly Bytes32[]): boolean {
    return leaves.every((leaf) => this.#leaves.has(leaf));
  }
}
