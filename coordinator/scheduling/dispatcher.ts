/**
 * Brings waiting nodes and queued tasks together.
 *
 * A node asks and waits here (long poll); pointers arrive from the stream and are held here. Whenever either side has
 * something new, every waiting node is offered a task of the job that matching/match.ts names. Nothing here is state that
 * matters: held pointers are redelivered when this process dies, and a node whose question is lost asks again.
 */

import { Mutex } from '../../platform/mutex.ts';
import type { Digest, NodeId } from '../../protocol/ids.ts';
import type { LeaseReply, LeaseRequest } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { claimRun, stillQueued, type TaskRow } from './claim-run.ts';
import { HeldTasks } from './held-tasks.ts';
import { runOf } from './lease-run.ts';
import type { FarmFacts, NodeFacts } from './matching/facts.ts';
import { match, noteLeased } from './matching/match.ts';
import { type KnownNode, onlineSince } from './nodes.ts';
import { readFacts } from './read-facts.ts';

/** Pointers held at a time. More would only make a restarted coordinator wait longer for their redelivery. */
export const MAX_HELD = 256;

/** Facts are read anew after this; until then what is leased here is added to them. */
const FACTS_MS = 250;

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
  facts: NodeFacts;
  run: LeaseRequest['run'];
  answer: (reply: LeaseReply) => void;
  fail: (error: unknown) => void;
};

export class Dispatcher {
  readonly #context: CoordinatorContext;
  readonly #onTaken: () => void;
  readonly #held = new HeldTasks();
  readonly #waiters = new Set<Waiter>();
  readonly #serving = new Mutex();
  readonly #askedMs = new Map<string, number>();
  #wanted = false;
  #letGoMs = 0;
  #facts: FarmFacts | undefined;

  /** `onTaken`: so much of a job was taken that others of its tasks can be published. */
  constructor(context: CoordinatorContext, onTaken: () => void = () => undefined) {
    this.#context = context;
    this.#onTaken = onTaken;
  }

  /** Nodes whose question waits here. */
  get waiting(): NodeId[] {
    return [...new Set([...this.#waiters].map((waiter) => waiter.nodeId))];
  }

  async start(): Promise<void> {
    await this.#context.queue.hold(MAX_HELD, (pointer) => {
      this.#held.add(pointer);
      // A job that nobody has decided about yet.
      if (this.#facts?.jobs.has(pointer.jobId) === false) this.#facts = undefined;
      this.wake();
    });
  }

  /** Answers with a task, or after {@link LONG_POLL_MS} with none. */
  lease(
    node: Pick<KnownNode, 'id' | 'address' | 'gpu' | 'pools'> & {
      engines: readonly string[];
      warm?: readonly Digest[];
    },
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
        facts: factsOf(node, run),
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

  /** Resolves when everybody was looked for whom there is something now. */
  async idle(): Promise<void> {
    await this.#serving.run(async () => undefined);
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
    const { db, clock, events } = this.#context;
    const now = clock.now();
    const farm = await this.#factsOf(now);
    const tasks = await this.#claim(waiter, farm, now);
    const [first] = tasks;
    if (first === undefined) return false;
    for (const { id } of tasks) this.#held.release(id);
    noteLeased(farm, first.job_id, waiter.nodeId, tasks.length, now);
    if (this.#held.countOf(first.job_id) < publishWindow(farm.jobs.size) / 2) this.#onTaken();
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

  /** Tasks of the first job in the node's order that has one for it. */
  async #claim(waiter: Waiter, farm: FarmFacts, now: number): Promise<TaskRow[]> {
    const { db, config } = this.#context;
    const { order } = match(waiter.facts, farm, this.#held.jobs, now);
    for (const held of this.#held.inParts(order, MAX_HELD)) {
      const tasks = await claimRun(db, {
        held,
        order,
        nodeId: waiter.nodeId,
        engines: waiter.engines,
        gpu: waiter.gpu,
        now: new Date(now),
        leaseUntil: new Date(now + config.leaseMs),
        onlineSince: onlineSince(now, config.leaseMs),
        run: waiter.run && { ...waiter.run, tasks: Math.min(waiter.run.tasks, this.#share()) },
      });
      if (tasks.length > 0) return tasks;
    }
    return [];
  }

  async #factsOf(now: number): Promise<FarmFacts> {
    // Also after the clock was set back.
    if (this.#facts === undefined || Math.abs(now - this.#facts.atMs) >= FACTS_MS)
      this.#facts = await readFacts(this.#context.db, new Set(this.#held.jobs), now);
    return this.#facts;
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
    const asked = new Map(this.#held.ids.map((id) => [id, this.#held.get(id)]));
    const queued = await stillQueued(this.#context.db, [...asked.keys()]);
    for (const [id, pointer] of asked) {
      if (!queued.has(id) && this.#held.get(id) === pointer) this.#held.release(id);
    }
    const now = this.#context.clock.now();
    if (this.#held.size < MAX_HELD || now - this.#letGoMs < LET_GO_EVERY_MS) return;
    this.#letGoMs = now;
    // All that is held is for nodes that are not waiting; behind it may be work for those that are.
    this.#held.letGo();
  }
}

/** What is held has to have something of every job, or nodes could not be shared among them. */
const LEAST_WINDOW = 8;

/** How many tasks of one job are on the to-do list at a time, where so many jobs are active. */
export function publishWindow(jobs: number): number {
  return Math.max(LEAST_WINDOW, Math.floor(MAX_HELD / Math.max(1, jobs)));
}

function factsOf(
  node: Pick<KnownNode, 'id' | 'gpu' | 'pools'> & { engines: readonly string[]; warm?: readonly Digest[] },
  run: LeaseRequest['run'],
): NodeFacts {
  return {
    id: node.id,
    device:
      node.gpu === undefined
        ? { kind: 'cpu', engines: node.engines }
        : { kind: 'gpu', classes: node.gpu.classes },
    pools: node.pools ?? [],
    // Who is quarantined does not wait here.
    quarantinedUntilMs: null,
    warm: [...(node.warm ?? []), ...(run === undefined ? [] : [run.scene])],
    ask: null,
  };
}
