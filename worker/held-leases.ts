/** The leases that a node holds, kept alive together; what the farm no longer lists is lost. */
import type { Log } from '../platform/log.ts';
import { ask } from '../platform/nats/exchange.ts';
import type { Asker } from '../platform/nats/member-connection.ts';
import { pause } from '../platform/wait.ts';
import type { NodeId, TaskId } from '../protocol/ids.ts';
import { MAX_BEATS, NODE_EXCHANGES, nodeSubject } from '../protocol/messages.ts';
import { REQUEST_TIMEOUT_MS } from './request-timeout.ts';

export type HeldLease = {
  taskId: TaskId;
  token: number;
  /** How far the task is, 0 to 1. */
  progress: () => number;
  onLost: () => void;
};

export type HeldLeasesOptions = {
  nodeId: NodeId;
  nats: Asker;
  heartbeatMs: number;
  log: Log;
};

export class HeldLeases {
  readonly #options: HeldLeasesOptions;
  readonly #leases = new Set<HeldLease>();
  #beating: AbortController | undefined;

  constructor(options: HeldLeasesOptions) {
    this.#options = options;
  }

  /** Until it is disposed of. */
  hold(lease: HeldLease): Disposable {
    this.#leases.add(lease);
    if (this.#beating === undefined) {
      this.#beating = new AbortController();
      void this.#beat(this.#beating.signal);
    }
    return {
      [Symbol.dispose]: () => {
        this.#leases.delete(lease);
        if (this.#leases.size > 0) return;
        this.#beating?.abort();
        this.#beating = undefined;
      },
    };
  }

  async #beat(signal: AbortSignal): Promise<void> {
    for (;;) {
      await pause(this.#options.heartbeatMs, signal);
      if (signal.aborted) return;
      const leases = [...this.#leases];
      for (let from = 0; from < leases.length; from += MAX_BEATS)
        await this.#tell(leases.slice(from, from + MAX_BEATS));
    }
  }

  async #tell(told: readonly HeldLease[]): Promise<void> {
    const { nats, nodeId, log } = this.#options;
    const leases = told.map(({ taskId, token, progress }) => {
      return { taskId, token, progress: Math.min(1, Math.max(0, progress())) };
    });
    const subject = nodeSubject(nodeId, 'heartbeat');
    try {
      const { lost } = await ask(nats, NODE_EXCHANGES.heartbeat, subject, { leases }, REQUEST_TIMEOUT_MS);
      // One that was handed in meanwhile is over as well, and not lost.
      for (const lease of told) if (this.#leases.has(lease) && lost.includes(lease.taskId)) lease.onLost();
    } catch (error) {
      // A coordinator that is restarting: the work goes on, and the token decides in the end.
      log.warn({ err: error, leases: told.length }, 'a heartbeat was not answered');
    }
  }
}
