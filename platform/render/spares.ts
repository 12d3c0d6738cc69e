/**
 * Renderers that are started before anybody needs them. Blender takes one to two seconds to start and most scenes a
 * fraction of that to load; a job waits for both twice, when its scene is inspected and when a node opens it.
 */
import type { RenderRuntime, StartedRenderer } from './runtime.ts';

/** The next spare is not started while the first frames of the job that took the last one are rendered. */
const REPLACE_AFTER_MS = 60_000;

export type SparesOptions = {
  threads: number;
  /** Hears why a spare could not be started. Nothing depends on it: the next open starts its own, or says the same. */
  onError: (error: unknown) => void;
  replaceAfterMs?: number;
};

/** At most one spare; about 100 MB of memory each. */
export class Spares implements AsyncDisposable {
  readonly #options: SparesOptions;
  readonly #closing = new AbortController();
  #spare: { runtime: RenderRuntime; renderer: Promise<StartedRenderer | undefined> } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SparesOptions) {
    this.#options = options;
  }

  /** The runtime, with sessions that begin in the spare where there is one for it. */
  around<T extends RenderRuntime>(runtime: T): T {
    if (runtime.start === undefined) return runtime;
    return {
      ...runtime,
      open: async (scene, options) => {
        const started = await this.#take(runtime);
        return await runtime.open(scene, { ...options, started });
      },
    };
  }

  /** Starts one for this runtime, unless there is one already. Does not wait for it. */
  prepare(runtime: RenderRuntime): void {
    if (this.#spare !== undefined || this.#closing.signal.aborted) return;
    const { threads, onError } = this.#options;
    const starting = runtime.start?.({ threads, signal: this.#closing.signal });
    if (starting === undefined) return;
    const renderer = starting.catch((error: unknown) => {
      if (!this.#closing.signal.aborted) onError(error);
      return undefined;
    });
    this.#spare = { runtime, renderer };
  }

  async #take(runtime: RenderRuntime): Promise<StartedRenderer | undefined> {
    const spare = this.#spare;
    this.#later(runtime);
    if (spare?.runtime !== runtime) return undefined;
    this.#spare = undefined;
    // One that is still starting is ahead of any that would be started now.
    const renderer = await spare.renderer;
    return renderer?.alive === true ? renderer : undefined;
  }

  #later(runtime: RenderRuntime): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.prepare(runtime), this.#options.replaceAfterMs ?? REPLACE_AFTER_MS);
    this.#timer.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    const spare = this.#spare;
    this.#spare = undefined;
    await (await spare?.renderer)?.close();
  }
}
