/** A loop that does what there is to do, round after round, and sleeps until somebody wakes it or a while is over. */
import type { Log } from '../platform/log.ts';
import { pause } from '../platform/wait.ts';

/** A look at least this often, for what no event announced (a chain that came back, what another coordinator did). */
const LOOK_AGAIN_MS = 2_000;

export class Rounds {
  #woken = false;
  #nudge: (() => void) | undefined;

  /** There may be something to do: the next round comes now rather than after the pause. */
  wake(): void {
    this.#woken = true;
    this.#nudge?.();
  }

  /**
   * Until `signal`. After a round that moved something `onMoved` is called and the next follows at once. One that throws
   * is logged as `trouble` and tried again: every round chooses anew from what is stored and what the chain says.
   */
  async run(
    round: () => Promise<boolean>,
    around: { onMoved: () => void; log: Log; trouble: string },
    signal: AbortSignal,
  ): Promise<void> {
    while (!signal.aborted) {
      this.#woken = false;
      let moved = false;
      try {
        moved = await round();
      } catch (error) {
        if (signal.aborted) return;
        around.log.warn({ err: error }, around.trouble);
      }
      if (moved) around.onMoved();
      if (!moved && !this.#woken) await this.#wait(signal);
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const ending = new AbortController();
    this.#nudge = () => ending.abort();
    await pause(LOOK_AGAIN_MS, AbortSignal.any([signal, ending.signal]));
    this.#nudge = undefined;
  }
}
