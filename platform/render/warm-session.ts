/** The one renderer that a node keeps alive: it stays with its scene until another scene is wanted. */

import type { Digest } from '../../protocol/ids.ts';
import { runtimeOf } from './engines.ts';
import type { RenderRuntime, RenderSession, SceneFolder } from './runtime.ts';

export class WarmSession implements AsyncDisposable {
  readonly #engines: readonly RenderRuntime[];
  readonly #threads: number;
  #open: { scene: Digest; engine: string; session: RenderSession } | undefined;

  constructor(engines: readonly RenderRuntime[], threads: number) {
    this.#engines = engines;
    this.#threads = threads;
  }

  /** The scene that is loaded, or null. */
  get scene(): Digest | null {
    return this.#open?.scene ?? null;
  }

  /** A session with this scene loaded: the one there is, or a new one in its place. */
  async with(
    engine: string,
    scene: Digest,
    folder: SceneFolder,
    signal: AbortSignal,
  ): Promise<RenderSession> {
    if (this.#open?.scene === scene && this.#open.engine === engine) return this.#open.session;
    await this.#open?.session.close();
    this.#open = undefined;
    const session = await runtimeOf(this.#engines, engine).open(folder, { signal, threads: this.#threads });
    const open = { scene, engine, session };
    this.#open = open;
    // A renderer that has ended must not be given another task.
    void session.closed.then(() => {
      if (this.#open === open) this.#open = undefined;
    });
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open?.session.close();
    this.#open = undefined;
  }
}
