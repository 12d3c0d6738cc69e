/**
 * Brings waiting nodes and queued tasks together.
 *
 * A node asks and waits here (long poll); pointers arrive from the stream and are held here. Whenever either side has
 * something new, every waiting node is offered the oldest task it may do: many of them in a few statements, since a
 * statement costs about the same for one as for fifty. Nothing here is state that matters: held pointers are redelivered
 * when this process dies, and a node whose question is lost asks again.
 */

import { Mutex } from '../../platform/mutex.ts';
import type { HeldPointer } from '../../platform/nats/task-queue.ts';
import type { JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import type { LeaseReply, LeaseRequest } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { type Assignment, type Candidate, Candidates } from './assign-runs.ts';
import { claimRun, stillQueued, type TaskRow } from './claim-run.ts';
import { type Choice, claimChosen, pairKey, readCandidates, readRooms } from './claim-runs.ts';
import { JobTerms, runsOf } from './lease-run.ts';
import { type KnownNode, onlineSince } from './nodes.ts';

/**
 * Pointers held at a time: at thousands of tasks a second those of half a second, so that nobody waits for the message
 * server. Each is told every few seconds that it is still held.
 */
export const MAX_HELD = 1_024;

/** Nodes that are served together: enough that statements do not count, few enough that the first is not kept waiting. */
const MAX_GROUP = 64;

/** The length of the list is asked for again after this. */
const DEPTH_MS = 1_000;

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
  /** Of what is held; of some not yet. */
  readonly #facts = new Map<TaskId, Candidate>();
  readonly #terms: JobTerms;
  #wanted = false;
  #letGoMs = 0;
  #depth = { atMs: Number.NEGATIVE_INFINITY, tasks: 0 };

  constructor(context: CoordinatorContext) {
    this.#context = context;
    this.#terms = new JobTerms(context.db);
  }

  async start(): Promise<void> {
    await this.#context.queue.hold(MAX_HELD, (pointer) => {
      this.#held.set(pointer.taskId, pointer);
      // It came back, perhaps with a failure.
      this.#facts.delete(pointer.taskId);
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
    const waiting = [...this.#waiters];
    let unserved = false;
    while (waiting.length > 0 && this.#held.size > 0) {
      const group = waiting.splice(0, MAX_GROUP).filter((waiter) => this.#waiters.has(waiter));
      if (!(await this.#serveGroup(group))) unserved = true;
    }
    if (unserved) await this.#dropStale();
  }

  /** Whether every one of them got something. */
  async #serveGroup(group: readonly Waiter[]): Promise<boolean> {
    const { clock } = this.#context;
    await this.#readFacts();
    const candidates = new Candidates(this.#facts.values());
    const order = this.#jobsInOrder();
    const share = await this.#share();
    const chosen = group.map((waiter): Assignment & { waiter: Waiter } => {
      const run = waiter.run && { ...waiter.run, tasks: Math.min(waiter.run.tasks, share) };
      return { waiter, ...candidates.take({ ...waiter, run }, order) };
    });
    const now = clock.now();
    const { served, doubtful } = await this.#claim(chosen, now);
    for (const waiter of doubtful) {
      const tasks = this.#waiters.has(waiter) ? await this.#claimAlone(waiter, share) : [];
      if (tasks.length > 0) served.set(waiter, tasks);
    }
    await this.#answer(served, now);
    return served.size === group.length;
  }

  /** Leases for all that nothing stands against. Who is doubtful has to be looked at alone; for the others there is nothing. */
  async #claim(
    chosen: readonly (Assignment & { waiter: Waiter })[],
    now: number,
  ): Promise<{ served: Map<Waiter, TaskRow[]>; doubtful: Set<Waiter> }> {
    const { db, config } = this.#context;
    const wanted = chosen.flatMap(({ waiter, tasks }) => {
      const [first] = tasks;
      return first === undefined
        ? []
        : [{ waiter, tasks, pair: { nodeId: waiter.nodeId, jobId: first.jobId } }];
    });
    const served = new Map<Waiter, TaskRow[]>();
    const doubtful = new Set(chosen.filter(({ troubled }) => troubled).map(({ waiter }) => waiter));
    if (wanted.length === 0) return { served, doubtful };
    const rooms = await readRooms(
      db,
      wanted.map(({ pair }) => pair),
      new Date(now),
    );
    const choices: Choice[] = [];
    const whose = new Map<TaskId, Waiter>();
    for (const { waiter, tasks, pair } of wanted) {
      const room = rooms.get(pairKey(pair));
      // Excluded from this job, perhaps not from the next.
      if (room === undefined) doubtful.add(waiter);
      if (room === undefined || room <= 0) continue;
      const given = tasks.slice(0, room);
      // What another device of the same node gets in this group counts, too.
      rooms.set(pairKey(pair), room - given.length);
      // Until it has them: what it was chosen for may be gone.
      doubtful.add(waiter);
      for (const { id, token } of given) {
        choices.push({ id, token, nodeId: waiter.nodeId });
        whose.set(id, waiter);
      }
    }
    const leaseUntil = new Date(now + config.leaseMs);
    for (const row of await claimChosen(db, choices, { now: new Date(now), leaseUntil })) {
      const waiter = whose.get(row.id);
      if (waiter === undefined) continue;
      doubtful.delete(waiter);
      const rows = served.get(waiter);
      if (rows === undefined) served.set(waiter, [row]);
      else rows.push(row);
    }
    return { served, doubtful };
  }

  /** With all the rules, in one statement for this node: where the first task for it failed before, or was gone. */
  async #claimAlone(waiter: Waiter, share: number): Promise<TaskRow[]> {
    const { db, clock, config } = this.#context;
    const now = clock.now();
    return await claimRun(db, {
      held: [...this.#held.keys()],
      nodeId: waiter.nodeId,
      engines: waiter.engines,
      gpu: waiter.gpu,
      now: new Date(now),
      leaseUntil: new Date(now + config.leaseMs),
      onlineSince: onlineSince(now, config.leaseMs),
      run: waiter.run && { ...waiter.run, tasks: Math.min(waiter.run.tasks, share) },
    });
  }

  async #answer(served: ReadonlyMap<Waiter, TaskRow[]>, now: number): Promise<void> {
    const { db, events } = this.#context;
    const claimed = [...served].map(([{ address }, tasks]) => ({ tasks, address }));
    for (const { tasks } of claimed) for (const { id } of tasks) this.#release(id);
    if (claimed.length === 0) return;
    try {
      const runs = await runsOf(db, this.#terms, claimed, new Date(now));
      const leased = claimed.flatMap(({ tasks }) =>
        tasks.flatMap(({ id: taskId, job_id: jobId, kind, frame, tile, node_id: nodeId }) =>
          nodeId === null
            ? []
            : [{ jobId, event: { type: 'task.leased' as const, taskId, kind, frame, tile, nodeId } }],
        ),
      );
      await events.addMany(db, leased, new Date(now));
      for (const [index, waiter] of [...served.keys()].entries())
        waiter.answer({ run: runs[index] ?? null, reason: '', retryAfterMs: 0 });
    } catch (error) {
      // The leases are written down and run out by themselves.
      for (const waiter of served.keys()) waiter.fail(error);
    }
  }

  /** What there is to know of the pointers that came since the last time. */
  async #readFacts(): Promise<void> {
    const unknown = [...this.#held.keys()].filter((id) => !this.#facts.has(id));
    if (unknown.length === 0) return;
    const now = new Date(this.#context.clock.now());
    for (const one of await readCandidates(this.#context.db, unknown, now)) {
      if (this.#held.has(one.id)) this.#facts.set(one.id, one);
    }
  }

  /** Jobs that something is held of, the oldest first. */
  #jobsInOrder(): JobId[] {
    const jobs = new Map<JobId, number>();
    for (const { jobId, seq } of this.#facts.values()) jobs.set(jobId, seq);
    return [...jobs].sort(([, a], [, b]) => a - b).map(([id]) => id);
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
  async #share(): Promise<number> {
    const there = Math.max(this.#held.size, await this.#listed());
    return Math.ceil(there / (2 * Math.max(1, this.#askedMs.size)));
  }

  /** How long the list is, with what others hold: known to the second. Not worth asking while there is room here. */
  async #listed(): Promise<number> {
    if (this.#held.size < MAX_HELD / 2) return 0;
    const now = this.#context.clock.now();
    if (Math.abs(now - this.#depth.atMs) >= DEPTH_MS)
      this.#depth = { atMs: now, tasks: await this.#context.queue.depth() };
    return this.#depth.tasks;
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
    this.#facts.clear();
  }

  #release(id: TaskId): void {
    this.#held.get(id)?.done();
    this.#held.delete(id);
    this.#facts.delete(id);
  }
}
