/**
 * Renderers that are started before anybody needs them. Blender takes one to two seconds to start and most scenes a
 * fraction of that to load; a job waits for both twice, when its scene is inspected and when a node opens it.
 */
import type { RenderRuntime, StartedRenderer } from './runtime.ts';

/** How often a program without a spare is asked whether it is busy: between two tasks it may look idle for a moment. */
const LOOK_MS = 1_000;

/** So many looks in a row have to find it idle. */
const IDLE_LOOKS = 2;

/** A program that is busy all day gets its spare after this, so that the next scene finds one. */
const REPLACE_AFTER_MS = 60_000;

export type SparesOptions = {
  threads: number;
  /** While this says true, the one that was taken is not replaced: starting takes a second of a processor. */
  busy: () => boolean | Promise<boolean>;
  /** Hears why a spare could not be started. Nothing depends on it: the next open starts its own, or says the same. */
  onError: (error: unknown) => void;
  lookMs?: number;
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
        // Started to run like any other, and by others to be taken soon: not for one that gives way.
        if (options.niceness !== undefined) return await runtime.open(scene, options);
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
    const takenMs = performance.now();
    let idle = 0;
    const look = async (): Promise<void> => {
      // A database that does not answer is busy.
      const busy = await Promise.resolve(this.#options.busy()).catch(() => true);
      // Taken again meanwhile: that one looks for both.
      if (this.#closing.signal.aborted || this.#timer !== timer) return;
      idle = busy ? 0 : idle + 1;
      if (idle >= IDLE_LOOKS || performance.now() - takenMs >= REPLACE_AFTER_MS) this.prepare(runtime);
      else timer.refresh();
    };
    clearTimeout(this.#timer);
    const timer = setTimeout(() => void look(), this.#options.lookMs ?? LOOK_MS);
    timer.unref();
    this.#timer = timer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    const spare = this.#spare;
    this.#spare = undefined;
    await (await spare?.renderer)?.close();
  }
}
