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
import type { LeaseReply } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { claimTask, stillQueued } from './claim-task.ts';
import { grantOf } from './grant.ts';
import { type KnownNode, onlineSince } from './nodes.ts';

/** Pointers held at a time. More would only make a restarted coordinator wait longer for their redelivery. */
const MAX_HELD = 256;

/** A node asks again after this; shorter than the request timeout of the worker, so that no answer is lost. */
export const LONG_POLL_MS = 15_000;

/** What nobody here may take comes round again and again; not more often than this. */
const LET_GO_EVERY_MS = 1_000;

type Waiter = {
  nodeId: NodeId;
  address: string;
  engines: readonly string[];
  gpu: KnownNode['gpu'];
  answer: (reply: LeaseReply) => void;
  fail: (error: unknown) => void;
};

export class Dispatcher {
  readonly #context: CoordinatorContext;
  readonly #held = new Map<TaskId, HeldPointer>();
  readonly #waiters = new Set<Waiter>();
  readonly #serving = new Mutex();
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
        resolve({ grant: null, reason: 'nothing to do', retryAfterMs: 0 });
      };
      const waiter: Waiter = {
        nodeId: node.id,
        address: node.address,
        engines: node.engines,
        gpu: node.gpu,
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
          other.answer({ grant: null, reason: 'asked again meanwhile', retryAfterMs: 0 });
      }
      this.#waiters.add(waiter);
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
    const task = await claimTask(db, {
      held: [...this.#held.keys()],
      nodeId: waiter.nodeId,
      engines: waiter.engines,
      gpu: waiter.gpu,
      now: new Date(now),
      leaseUntil: new Date(now + config.leaseMs),
      onlineSince: onlineSince(now, config.leaseMs),
    });
    if (task === null) return false;
    this.#release(task.id);
    try {
      const grant = await grantOf(db, task, waiter.address, new Date(now));
      await events.add(
        db,
        task.job_id,
        {
          type: 'task.leased',
          taskId: task.id,
          kind: task.kind,
          frame: task.frame,
          tile: task.tile,
          nodeId: waiter.nodeId,
        },
        new Date(now),
      );
      waiter.answer({ grant, reason: '', retryAfterMs: 0 });
    } catch (error) {
      // The lease is written down and runs out by itself.
      waiter.fail(error);
    }
    return true;
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
