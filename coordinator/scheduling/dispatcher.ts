/**
 * Brings waiting nodes and queued tasks together.
 *
 * A node asks and waits here (long poll); pointers arrive from the stream and are held here. Whenever either side has
 * something new, every waiting node is offered the oldest task it may do. Nothing here is state that matters: held
 * pointers are redelivered when this process dies, and a node whose question is lost asks again.
 */

import { Mutex } from '../../platform/mutex.ts';
import type { HeldPointer } from '../../platform/nats/task-queue.ts';
import type { NodeId, TaskId } from '../../protocol/ids.ts';
import type { LeaseReply, LeaseRequest } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { claimRun, stillQueued } from './claim-run.ts';
import { runOf } from './lease-run.ts';
import { type KnownNode, onlineSince } from './nodes.ts';

/** Pointers held at a time. More would only make a restarted coordinator wait longer for their redelivery. */
const MAX_HELD = 256;

/** A node asks again after this; shorter than the request timeout of the worker, so that no answer is lost. */
export const LONG_POLL_MS = 15_000;

/** Who has not asked for this long is not counted among those that share the work: it renders something long. */
const ASKED_LATELY_MS = 2 * LONG_POLL_MS;

/** What nobody here may take comes round again and again; not more often than this. */
const LET_GO_EVERY_MS = 1_000;

type Waiter = {
  nodeId: NodeId;
  address: string;
  engines: readonly string[];
  gpu: KnownNode['gpu'];
  run: LeaseRequest['run'];
  answer: (reply: LeaseReply) => void;
  fail: (error: unknown) => void;
};

export class Dispatcher {
  readonly #context: CoordinatorContext;
  readonly #held = new Map<TaskId, HeldPointer>();
  readonly #waiters = new Set<Waiter>();
  readonly #serving = new Mutex();
  readonly #askedMs = new Map<string, number>();
  #wanted = false;
  #letGoMs = 0;

  constructor(context: CoordinatorContext) {
    this.#context = context;
  }

  async start(): Promise<void> {
    await this.#context.queue.hold(MAX_HELD, (pointer) => {
      this.#held.set(pointer.taskId, pointer);
      this.wake();
    });
  }

  /** Answers with a task, or after {@link LONG_POLL_MS} with none. */
  lease(
    node: Pick<KnownNode, 'id' | 'address' | 'gpu'> & { engines: readonly string[] },
    run: LeaseRequest['run'],
    signal: AbortSignal,
  ): Promise<LeaseReply> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        this.#waiters.delete(waiter);
      };
      const giveUp = (): void => {
        settle();
        resolve({ run: null, reason: 'nothing to do', retryAfterMs: 0 });
      };
      const waiter: Waiter = {
        nodeId: node.id,
        address: node.address,
        engines: node.engines,
        gpu: node.gpu,
        run,
        answer: (reply) => {
          settle();
          resolve(reply);
        },
        fail: (error) => {
          settle();
          reject(error);
        },
      };
      const timer = setTimeout(giveUp, LONG_POLL_MS);
      signal.addEventListener('abort', giveUp, { once: true });
      // The newest question of a node, or of its GPU, is the one it listens for.
      for (const other of this.#waiters) {
        if (other.nodeId === node.id && other.gpu?.device === node.gpu?.device)
          other.answer({ run: null, reason: 'asked again meanwhile', retryAfterMs: 0 });
      }
      this.#waiters.add(waiter);
      this.#asked(`${node.id} ${node.gpu?.device ?? ''}`);
      this.wake();
    });
  }

  /** Something may have changed: tries to serve everyone who waits. */
  wake(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    void this.#serving.run(async () => {
      this.#wanted = false;
      try {
        await this.#serveAll();
      } catch (error) {
        this.#context.log.error({ err: error }, 'dispatch failed; nodes will ask again');
      }
    });
  }

  async #serveAll(): Promise<void> {
    let unserved = false;
    for (const waiter of [...this.#waiters]) {
      if (this.#held.size === 0) return;
      if (this.#waiters.has(waiter) && !(await this.#serve(waiter))) unserved = true;
    }
    if (unserved) await this.#dropStale();
  }

  async #serve(waiter: Waiter): Promise<boolean> {
    const { db, clock, config, events } = this.#context;
    const now = clock.now();
    const tasks = await claimRun(db, {
      held: [...this.#held.keys()],
      nodeId: waiter.nodeId,
      engines: waiter.engines,
      gpu: waiter.gpu,
      now: new Date(now),
      leaseUntil: new Date(now + config.leaseMs),
      onlineSince: onlineSince(now, config.leaseMs),
      run: waiter.run && { ...waiter.run, tasks: Math.min(waiter.run.tasks, this.#share()) },
    });
    const [first] = tasks;
    if (first === undefined) return false;
    for (const { id } of tasks) this.#release(id);
    try {
      const run = await runOf(db, tasks, waiter.address, new Date(now));
      const leased = tasks.map(({ id: taskId, kind, frame, tile }) => {
        return { type: 'task.leased' as const, taskId, kind, frame, tile, nodeId: waiter.nodeId };
      });
      await events.addAll(db, first.job_id, leased, new Date(now));
      waiter.answer({ run, reason: '', retryAfterMs: 0 });
    } catch (error) {
      // The leases are written down and run out by themselves.
      waiter.fail(error);
    }
    return true;
  }

  #asked(device: string): void {
    const now = this.#context.clock.now();
    // Longest ago first, as a map keeps its keys.
    this.#askedMs.delete(device);
    this.#askedMs.set(device, now);
    for (const [other, atMs] of this.#askedMs) {
      if (Math.abs(now - atMs) <= ASKED_LATELY_MS) break;
      this.#askedMs.delete(other);
    }
  }

  /**
   * How many tasks one device may take at once: half of its even share of what is there, so that all of them end
   * together (guided self-scheduling, Polychronopoulos and Kuck 1987).
   */
  #share(): number {
    return Math.ceil(this.#held.size / (2 * Math.max(1, this.#askedMs.size)));
  }

  async #dropStale(): Promise<void> {
    // Pointers that arrive while the question is under way are not in its answer.
    const asked = new Map(this.#held);
    const queued = await stillQueued(this.#context.db, [...asked.keys()]);
    for (const [id, pointer] of asked) {
      if (!queued.has(id) && this.#held.get(id) === pointer) this.#release(id);
    }
    const now = this.#context.clock.now();
    if (this.#held.size < MAX_HELD || now - this.#letGoMs < LET_GO_EVERY_MS) return;
    this.#letGoMs = now;
    // All that is held is for nodes that are not waiting; behind it may be work for those that are.
    for (const pointer of this.#held.values()) pointer.later();
    this.#held.clear();
  }

  #release(id: TaskId): void {
    this.#held.get(id)?.done();
    this.#held.delete(id);
  }
}
