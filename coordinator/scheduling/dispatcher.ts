/**
 * Brings waiting nodes and queued tasks together.
 *
 * A node asks and waits here (long poll); pointers arrive from the stream and are held here. Whenever either side has
 * something new, every waiting node is offered a task of the job that matching/match.ts names: many nodes in a few
 * statements, since a statement costs about the same for one as for fifty. Nothing here is state that matters: held
 * pointers are redelivered when this process dies, and a node whose question is lost asks again.
 */

import { Mutex } from '../../platform/mutex.ts';
import type { HeldPointer } from '../../platform/nats/task-queue.ts';
import type { Digest, JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import type { LeaseReply, LeaseRequest, TaskPointer } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { AskedLately } from './asked-lately.ts';
import { type Assignment, Candidates } from './assign-runs.ts';
import { CandidateList } from './candidate-list.ts';
import { claimRun, stillQueued, type TaskRow } from './claim-run.ts';
import { type Choice, claimChosen, pairKey, readCandidates, readRooms } from './claim-runs.ts';
import { giveCopies } from './copies/give-copies.ts';
import { HeldTasks, MAX_HELD, publishWindow } from './held-tasks.ts';
import { JobTerms, runsOf } from './lease-run.ts';
import { Lending, type Sharing } from './lending.ts';
import type { FarmFacts, NodeFacts } from './matching/facts.ts';
import { standing } from './matching/fair-share.ts';
import { match, noteLeased } from './matching/match.ts';
import { type KnownNode, onlineSince } from './nodes.ts';
import { readFacts } from './read-facts.ts';

/** Nodes that are served together: enough that statements do not count, few enough that the first is not kept waiting. */
const MAX_GROUP = 64;

/** Facts of jobs and accounts are read anew after this; until then what is leased here is added to them. */
const FACTS_MS = 250;

/** More of a job is published when less than this part of its window is held. */
const LOW = 0.75;

/** A node asks again after this; shorter than the request timeout of the worker, so that no answer is lost. */
export const LONG_POLL_MS = 15_000;

/** Who has not asked for this long is not counted among those that share the work: it renders something long. */
const ASKED_LATELY_MS = 2 * LONG_POLL_MS;

/** What nobody here may take comes round again and again; not more often than this. */
const LET_GO_EVERY_MS = 1_000;

/** So few are looked at whenever somebody got nothing; more take milliseconds, and are looked at as often as they are let go. */
const FEW = 256;

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

/** What a node is to get. `limited`: nothing, and one of the reasons is a limit of nodes. */
type Chosen = Assignment & { waiter: Waiter; limited: boolean };

export class Dispatcher {
  readonly #context: CoordinatorContext;
  readonly #onTaken: (jobs: ReadonlySet<JobId>) => void;
  readonly #held = new HeldTasks();
  readonly #waiters = new Set<Waiter>();
  readonly #serving = new Mutex();
  readonly #askedLately = new AskedLately(ASKED_LATELY_MS);
  /** Of what is held; of some not yet. */
  readonly #candidates = new CandidateList();
  readonly #terms: JobTerms;
  readonly #lending: Lending | null;
  /** What was chosen and somebody else had taken. */
  #contested = new Set<TaskId>();
  #wanted = false;
  #lookedMs = 0;
  #letGoMs = 0;
  #farm: FarmFacts | undefined;
  #stale = true;

  /** `onTaken`: so much of these jobs was taken that others of their tasks can be published. */
  constructor(
    context: CoordinatorContext,
    onTaken: (jobs: ReadonlySet<JobId>) => void = () => undefined,
    sharing: Sharing | null = null,
  ) {
    this.#context = context;
    this.#onTaken = onTaken;
    this.#lending = sharing && new Lending(sharing, context.clock);
    this.#terms = new JobTerms(context.db);
  }

  /** Nodes whose question waits here. */
  get waiting(): NodeId[] {
    return [...new Set([...this.#waiters].map((waiter) => waiter.nodeId))];
  }

  async start(): Promise<void> {
    await this.#context.queue.hold(MAX_HELD, (pointer) => this.#add(pointer));
  }

  /** Others hold these and have no use for them; they stay theirs, and on the list. */
  borrow(pointers: readonly TaskPointer[]): void {
    for (const pointer of pointers) {
      const known = this.#held.get(pointer.taskId);
      if (known === undefined ? this.#held.size >= MAX_HELD : known.borrowed !== true) continue;
      this.#add({ ...pointer, borrowed: true, done: () => undefined, later: () => undefined });
    }
  }

  /** Nodes wait at another coordinator: what is held here and not taken is offered to it, for as long as they may wait. */
  othersWait(): void {
    this.#lending?.othersWait(LONG_POLL_MS);
    // No new look at those who wait here: for them nothing has changed.
    this.#lend();
  }

  #lend(): void {
    this.#lending?.settle(this.#waiters.size > 0, () => this.#held.all);
  }

  #add(pointer: HeldPointer): void {
    this.#held.add(pointer);
    // It came back, perhaps with a failure.
    this.#candidates.delete(pointer.taskId);
    // A job that nobody has decided about yet. Also while the facts are being read: they may be of just before.
    if (this.#farm?.jobs.has(pointer.jobId) !== true) this.#stale = true;
    this.wake();
  }

  /** Answers with a task, or after {@link LONG_POLL_MS} with none. */
  lease(node: AskingNode, run: LeaseRequest['run'], signal: AbortSignal): Promise<LeaseReply> {
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
        facts: factsOf(node, run, this.#askedLately.note(deviceOf(node), this.#context.clock.now())),
        run,
        answer: (reply) => {
          settle();
          if (reply.run !== null) this.#askedLately.worksOn(deviceOf(node), reply.run.jobId);
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
      this.#lending?.asked();
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
    const waiting = [...this.#waiters];
    let unserved = false;
    while (waiting.length > 0 && this.#held.size > 0) {
      const group = waiting.splice(0, MAX_GROUP).filter((waiter) => this.#waiters.has(waiter));
      if (!(await this.#serveGroup(group))) unserved = true;
    }
    await this.#dropStale(unserved);
    this.#lend();
  }

  /** Whether every one of them got something. */
  async #serveGroup(group: readonly Waiter[]): Promise<boolean> {
    await this.#readCandidates();
    const now = this.#context.clock.now();
    const before = this.#farm;
    let farm = await this.#factsOf(now);
    let chosen = this.#choose(group, farm, now);
    // A limit passes when somebody is done, which only new facts say; nobody would look again before long.
    if (farm === before && chosen.some(({ limited }) => limited)) {
      this.#stale = true;
      farm = await this.#factsOf(now);
      chosen = this.#choose(group, farm, now);
    }
    const share = this.#share(farm);
    const { served, doubtful } = await this.#claim(chosen, now);
    this.#correct(farm, chosen, served, now);
    for (const waiter of doubtful) {
      const tasks = this.#waiters.has(waiter) ? await this.#claimAlone(waiter, farm, share) : [];
      if (tasks.length > 0) served.set(waiter, tasks);
    }
    await this.#answer(served, now);
    this.#lookWhatIsLow(farm, served);
    return served.size === group.length;
  }

  /** One after the other, since what one is chosen for counts for the next. */
  #choose(group: readonly Waiter[], farm: FarmFacts, now: number): Chosen[] {
    const candidates = new Candidates(this.#candidates);
    const jobs = this.#held.jobs;
    const share = this.#share(farm);
    const behind = standing(farm, now);
    return group.map((waiter) => {
      const run = waiter.run && { ...waiter.run, tasks: Math.min(waiter.run.tasks, share) };
      const { order, refused } = match(waiter.facts, farm, jobs, now, behind);
      const taken = candidates.take({ ...waiter, run }, order);
      const [first] = taken.tasks;
      if (first !== undefined) noteLeased(farm, first.jobId, waiter.nodeId, taken.tasks.length, now, behind);
      const reasons = [...refused.values()];
      const limited = reasons.includes('job-limit') || reasons.includes('account-limit');
      return { waiter, ...taken, limited: limited && first === undefined };
    });
  }

  /** Takes back from the facts what was chosen and not claimed. */
  #correct(
    farm: FarmFacts,
    chosen: readonly Chosen[],
    served: ReadonlyMap<Waiter, TaskRow[]>,
    now: number,
  ): void {
    for (const { waiter, tasks } of chosen) {
      const [first] = tasks;
      const got = served.get(waiter)?.length ?? 0;
      if (first !== undefined) noteLeased(farm, first.jobId, waiter.nodeId, got - tasks.length, now);
    }
  }

  #lookWhatIsLow(farm: FarmFacts, served: ReadonlyMap<Waiter, TaskRow[]>): void {
    const low = LOW * publishWindow(farm.jobs.size);
    const taken = new Set(
      [...served.values()].flatMap(([first]) => (first === undefined ? [] : [first.job_id])),
    );
    const short = new Set([...taken].filter((job) => this.#held.countOf(job) < low));
    if (short.size > 0) this.#onTaken(short);
  }

  /** Leases for all that nothing stands against. Who is doubtful has to be looked at alone; for the others there is nothing. */
  async #claim(
    chosen: readonly Chosen[],
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
    const claimed = await claimChosen(db, choices, { now: new Date(now), leaseUntil });
    if (claimed.length < choices.length) {
      const got = new Set(claimed.map(({ id }) => id));
      for (const { id } of choices) if (!got.has(id)) this.#contested.add(id);
    }
    for (const row of claimed) {
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
  async #claimAlone(waiter: Waiter, farm: FarmFacts, share: number): Promise<TaskRow[]> {
    const { db, clock, config } = this.#context;
    const now = clock.now();
    const { order } = match(waiter.facts, farm, this.#held.jobs, now);
    if (order.length === 0) return [];
    const tasks = await claimRun(db, {
      held: this.#held.ids,
      order,
      nodeId: waiter.nodeId,
      engines: waiter.engines,
      gpu: waiter.gpu,
      now: new Date(now),
      leaseUntil: new Date(now + config.leaseMs),
      onlineSince: onlineSince(now, config.leaseMs),
      run: waiter.run && { ...waiter.run, tasks: Math.min(waiter.run.tasks, share) },
    });
    const [first] = tasks;
    if (first !== undefined) noteLeased(farm, first.job_id, waiter.nodeId, tasks.length, now);
    return tasks;
  }

  /** Copies of what others take long with, for who waits here and is idle (copies/late.ts). */
  async giveCopies(): Promise<void> {
    if (this.#waiters.size === 0) return;
    await this.#serving.run(async () => {
      const asking = new Map([...this.#waiters].map((waiter) => [waiter.facts, waiter]));
      const given = await giveCopies(this.#context, [...asking.keys()]);
      if (given.size === 0) return;
      this.#stale = true;
      const served = [...given].flatMap(([facts, task]): [Waiter, TaskRow[]][] => {
        const waiter = asking.get(facts);
        return waiter === undefined ? [] : [[waiter, [task]]];
      });
      await this.#answer(new Map(served), this.#context.clock.now(), { noted: true });
    });
  }

  /** `noted`: what is given is in the events already. */
  async #answer(
    served: ReadonlyMap<Waiter, TaskRow[]>,
    now: number,
    { noted }: { noted: boolean } = { noted: false },
  ): Promise<void> {
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
      if (!noted) await events.addMany(db, leased, new Date(now));
      for (const [index, waiter] of [...served.keys()].entries())
        waiter.answer({ run: runs[index] ?? null, reason: '', retryAfterMs: 0 });
    } catch (error) {
      // The leases are written down and run out by themselves.
      for (const waiter of served.keys()) waiter.fail(error);
    }
  }

  /** What there is to know of the pointers that came since the last time. */
  async #readCandidates(): Promise<void> {
    const unknown = this.#held.ids.filter((id) => !this.#candidates.has(id));
    if (unknown.length === 0) return;
    const now = new Date(this.#context.clock.now());
    for (const one of await readCandidates(this.#context.db, unknown, now)) {
      if (this.#held.has(one.id)) this.#candidates.add(one);
    }
  }

  async #factsOf(now: number): Promise<FarmFacts> {
    // Also after the clock was set back.
    if (this.#farm !== undefined && !this.#stale && Math.abs(now - this.#farm.atMs) < FACTS_MS)
      return this.#farm;
    this.#stale = false;
    this.#farm = await readFacts(this.#context.db, new Set(this.#held.jobs), now);
    return this.#farm;
  }

  /**
   * How many tasks one device may take at once: half of its even share of what is there, so that all of them end
   * together (guided self-scheduling, Polychronopoulos and Kuck 1987).
   */
  #share(farm: FarmFacts): number {
    // Of a long job only a part is held, and less of it than usual just after much was taken.
    const left = this.#held.jobs.reduce((sum, id) => sum + (farm.jobs.get(id)?.left ?? 0), 0);
    // What the facts say is of a moment ago, which matters where little is left.
    const there = left >= MAX_HELD ? Math.max(this.#held.size, left) : this.#held.size;
    return Math.ceil(there / (2 * Math.max(1, this.#askedLately.size)));
  }

  /** Lets go of what is no work any more: of what was contested, and of all where somebody got nothing. */
  async #dropStale(unserved: boolean): Promise<void> {
    const now = this.#context.clock.now();
    const long = (sinceMs: number): boolean => Math.abs(now - sinceMs) >= LET_GO_EVERY_MS;
    const full = unserved && this.#held.size >= MAX_HELD && long(this.#letGoMs);
    const all = full || (unserved && (this.#held.size <= FEW || long(this.#lookedMs)));
    if (all) this.#lookedMs = now;
    const ids = all ? this.#held.ids : [...this.#contested];
    this.#contested.clear();
    if (ids.length === 0) return;
    // Pointers that arrive while the question is under way are not in its answer.
    const asked = ids.map((id) => [id, this.#held.get(id)] as const);
    const queued = await stillQueued(this.#context.db, ids);
    for (const [id, pointer] of asked) {
      if (!queued.has(id) && this.#held.get(id) === pointer) this.#release(id);
    }
    if (!full || this.#held.size < MAX_HELD) return;
    this.#letGoMs = now;
    // All that is held is for nodes that are not waiting; behind it may be work for those that are.
    this.#held.letGo();
    this.#candidates.clear();
    this.#lending?.forgetAll();
  }

  #release(id: TaskId): void {
    this.#held.release(id);
    this.#candidates.delete(id);
    this.#lending?.forget(id);
  }
}

type AskingNode = Pick<KnownNode, 'id' | 'address' | 'gpu' | 'pools'> & {
  engines: readonly string[];
  /** Scenes that it has open. */
  warm?: readonly Digest[];
};

function deviceOf({ id, gpu }: AskingNode): string {
  return `${id} ${gpu?.device ?? ''}`;
}

function factsOf(node: AskingNode, run: LeaseRequest['run'], lastJob: JobId | null): NodeFacts {
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
    lastJob,
    ask: null,
  };
}
