/** Keeps one process of the farm running: started again when it dies, recorded so that nothing of it can be forgotten. */
import type { Child } from '../../platform/process/child.ts';
import type { ProcessRecord } from '../../platform/process/process-record.ts';
import { backoffMs, pause } from '../../platform/wait.ts';

export type Supervised = {
  readonly name: string;
  /** The process that runs now. */
  readonly pid: number;
  /** Ends it for good. */
  stop(): Promise<void>;
};

export type SuperviseOptions = {
  name: string;
  start: () => Promise<Child>;
  record: ProcessRecord;
  /** Whether to start it again when it dies. */
  restart: boolean;
  /** Told when it dies and when it is back. */
  onNote: (note: string) => void;
};

/** A process that ran this long was healthy: the next failure starts counting anew. */
const HEALTHY_MS = 30_000;

export async function supervise(options: SuperviseOptions): Promise<Supervised> {
  const { name, start, record, onNote } = options;
  const stopping = new AbortController();
  let child = await start();
  await record.add(name, child.pid);
  const watching = watch();
  return {
    name,
    get pid() {
      return child.pid;
    },
    async stop() {
      stopping.abort();
      await child.stop();
      await watching;
    },
  };

  async function watch(): Promise<void> {
    let attempt = 0;
    for (;;) {
      const startedMs = performance.now();
      const how = await child.exited;
      if (stopping.signal.aborted) return;
      onNote(`${name} ${how}${options.restart ? '; starting it again' : ''}`);
      if (!options.restart) return;
      if (performance.now() - startedMs > HEALTHY_MS) attempt = 0;
      for (;;) {
        await pause(backoffMs(attempt++), stopping.signal);
        if (stopping.signal.aborted) return;
        try {
          child = await start();
          break;
        } catch (error) {
          onNote(
            `${name} could not be started again: ${error instanceof Error ? error.message : String(error)}`,
          );
        }
      }
      await record.add(name, child.pid).catch((error: unknown) => onNote(`${name}: ${String(error)}`));
      if (stopping.signal.aborted) await child.stop();
    }
  }
}
