/** The one renderer that a node keeps alive: it stays with its scene until another scene is wanted. */

import type { Digest } from '../../protocol/ids.ts';
import type { RenderRuntime, RenderSession, SceneFolder } from './runtime.ts';

export class WarmSession implements AsyncDisposable {
  readonly #runtime: RenderRuntime;
  readonly #threads: number;
  #open: { scene: Digest; session: RenderSession } | undefined;

  constructor(runtime: RenderRuntime, threads: number) {
    this.#runtime = runtime;
    this.#threads = threads;
  }

  /** The scene that is loaded, or null. */
  get scene(): Digest | null {
    return this.#open?.scene ?? null;
  }

  /** A session with this scene loaded: the one there is, or a new one in its place. */
  async with(scene: Digest, folder: SceneFolder, signal: AbortSignal): Promise<RenderSession> {
    if (this.#open?.scene === scene) return this.#open.session;
    await this.#open?.session.close();
    this.#open = undefined;
    const session = await this.#runtime.open(folder, { signal, threads: this.#threads });
    const open = { scene, session };
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
