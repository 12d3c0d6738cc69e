/** The events of a job while the coordinator that tells them dies and comes back. */
import type { LoggedEvent } from '../../protocol/events.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { TestFarm } from '../support/farm.ts';

const ASK_AGAIN_MS = 200;

/** `heardMs`: by the clock of whoever follows, which no fault touches. */
export type HeardEvent = LoggedEvent & { heardMs: number };

/** Everything from the first event to the first that fits, each once. The time limit is that of the test. */
export async function follow(
  farm: TestFarm,
  id: JobId,
  fits: (event: LoggedEvent['event']) => boolean,
): Promise<HeardEvent[]> {
  const all: HeardEvent[] = [];
  for (;;) {
    const closing = new AbortController();
    try {
      for await (const logged of farm.client.events(id, all.at(-1)?.seq ?? 0, closing.signal)) {
        all.push({ ...logged, heardMs: Date.now() });
        if (fits(logged.event)) return all;
      }
    } catch {
      // Killed in mid-answer, or not there yet: asked again from where it stopped.
    } finally {
      closing.abort();
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
