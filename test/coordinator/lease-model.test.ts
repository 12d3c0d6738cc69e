/**
 * Leases and their copies against a model of them: messages arrive late, twice, in any order, at the same moment. What was
 * taken is what the model says for some order of them, no task is lost, and each is paid once.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { completeAll } from '../../coordinator/scheduling/complete-tasks.ts';
import { giveCopy } from '../../coordinator/scheduling/copies/give-copies.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { extendLeases } from '../../coordinator/scheduling/heartbeat.ts';
import { requeueLostLeases } from '../../coordinator/scheduling/lost-leases.ts';
import { applyOutcome, UNJUDGED } from '../../coordinator/settlement/apply-outcome.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { JobId, TaskId } from '../../protocol/ids.ts';
import {
  type TaskRow,
  type TestCoordinator,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { type Completion, claim, completeTask, completionOf, ended } from './delivery.ts';

/** The gate's share; LEASE_RUNS=3000 looks for what is rare. */
const RUNS = Number(process.env['LEASE_RUNS'] ?? 25);
/** A run is a third of a second; four of them on a machine with much else to do. */
vi.setConfig({ testTimeout: 240_000 + RUNS * 1_500, hookTimeout: 240_000 });
/** One of a node's four is always free: how many a node may have is not what this is about. */
const FRAMES = 3;

let farm: TestCoordinator;
let nodes: TestNode[];
beforeAll(async () => {
  farm = await testCoordinator();
  nodes = [await farm.addNode(), await farm.addNode(), await farm.addNode()];
});
afterAll(() => farm[Symbol.asyncDispose]());

/** What a node has sent about a lease of its own; the network may bring it at any time, as often as it likes. */
type Message = { kind: 'complete' | 'fail' | 'beat'; node: TestNode; task: TaskRow };
type ModelLease = { node: TestNode; token: number; untilMs: number; copied: boolean };
/** Of two nodes that work on a task the older lease is first. A lease has at most one copy, ever. */
type ModelTask =
  | { state: 'queued' | 'delivered' | 'verified' }
  | { state: 'leased'; leases: readonly ModelLease[] };

const isOf =
  ({ node, task }: Message) =>
  (lease: ModelLease): boolean =>
    lease.node.id === node.id && lease.token === task.token;

/** What the farm makes of a message; null: it refuses it. */
function after(now: ModelTask | undefined, message: Message, untilMs: number): ModelTask | null {
  if (now?.state !== 'leased') return null;
  const own = now.leases.find(isOf(message));
  if (own === undefined) return null;
  const others = now.leases.filter((lease) => lease !== own);
  switch (message.kind) {
    case 'beat':
      return { ...now, leases: now.leases.map((lease) => (lease === own ? { ...own, untilMs } : lease)) };
    case 'complete':
      return { state: 'delivered' };
    case 'fail':
      return others.length === 0 ? { state: 'queued' } : { state: 'leased', leases: others };
    default:
      throw new Error(message.kind satisfies never);
  }
}

function* orders<T>(of: readonly T[]): Generator<T[]> {
  if (of.length === 0) yield [];
  for (const [index, first] of of.entries())
    for (const rest of orders(of.toSpliced(index, 1))) yield [first, ...rest];
}

class Farm {
  readonly model = new Map<TaskId, ModelTask>();
  readonly network: Message[] = [];
  readonly #job: JobId;
  readonly #wholes: readonly TaskRow[];

  constructor(job: JobId, wholes: readonly TaskRow[]) {
    this.#job = job;
    this.#wholes = wholes;
    for (const { id } of wholes) this.model.set(id, { state: 'queued' });
  }

  async lease(node: TestNode): Promise<boolean> {
    const row = await claim(farm, node, this.#wholes);
    if (row === null) return false;
    // Never what somebody has, or what is there already; and every lease has a token of its own.
    expect(this.model.get(row.id)).toEqual({ state: 'queued' });
    const untilMs = farm.clock.now() + farm.context.config.leaseMs;
    this.model.set(row.id, { state: 'leased', leases: [{ node, token: row.token, untilMs, copied: false }] });
    this.#willSend(node, row);
    return true;
  }

  /** Its result twice, as of a node that had no answer. */
  #willSend(node: TestNode, task: TaskRow): void {
    for (const kind of ['beat', 'fail', 'complete', 'complete'] as const)
      this.network.push({ kind, node, task });
  }

  /** Others take what is left, as at the end of a job, and the node is offered a copy of a task, whatever becomes of it. */
  async copy(node: TestNode, which: number): Promise<void> {
    for (const other of nodes) while (other !== node && (await this.lease(other)));
    const id = this.#wholes[which % this.#wholes.length]?.id as TaskId;
    const now = this.model.get(id);
    const { job_id: jobId, token, kind, frame, tile, node_id } = await farm.task(id);
    const lease = { taskId: id, jobId, token, kind, frame, tile, nodeId: node_id ?? node.id };
    const reason = 'it takes long';
    const row = await giveCopy(farm.context, { lease: { ...lease, sinceMs: 0, avoid: [] }, node, reason });
    const all = [...this.model.values()];
    const may =
      now?.state === 'leased' &&
      now.leases.every(({ copied }) => !copied) &&
      all.every(({ state }) => state !== 'queued') &&
      all.every((one) => one.state !== 'leased' || one.leases.every((held) => held.node.id !== node.id));
    expect(row !== null, `a copy of ${id}: ${JSON.stringify([...this.model])}`).toBe(may);
    if (row === null || now?.state !== 'leased') return;
    // A token that nobody had.
    expect(row.token).toBe(token + 1);
    const untilMs = farm.clock.now() + farm.context.config.leaseMs;
    const older = now.leases.map((held) => ({ ...held, copied: true }));
    const leases = [...older, { node, token: row.token, untilMs, copied: false }];
    this.model.set(id, { state: 'leased', leases });
    this.#willSend(node, row);
  }

  /** These reach the farm at the same moment; results in one transaction, if they are taken `together`. */
  async deliver(messages: readonly Message[], together = false): Promise<void> {
    const taken = together ? await sendTogether(messages) : await Promise.all(messages.map(send));
    const was = new Map(messages.map((message, index) => [message, taken[index] === true]));
    for (const order of orders(messages)) {
      const model = this.#inOrder(order, was);
      if (model === null) continue;
      for (const [id, task] of model) this.model.set(id, task);
      return;
    }
    const told = messages.map(
      ({ kind, node, task }, index) => `${kind} ${task.id} ${node.id}: ${taken[index]}`,
    );
    expect.fail(`no order of these explains what was taken: ${told.join('; ')}`);
  }

  /** The model after these, one after the other, where what was taken is what it says; else null. */
  #inOrder(order: readonly Message[], taken: ReadonlyMap<Message, boolean>): Map<TaskId, ModelTask> | null {
    const model = new Map(this.model);
    const untilMs = farm.clock.now() + farm.context.config.leaseMs;
    for (const message of order) {
      const next = after(model.get(message.task.id), message, untilMs);
      if ((next !== null) !== taken.get(message)) return null;
      if (next !== null) model.set(message.task.id, next);
    }
    return model;
  }

  async passTime(share: number): Promise<void> {
    farm.clock.advance(Math.ceil(share * farm.context.config.leaseMs));
    await requeueLostLeases(farm.context);
    for (const [id, now] of this.model) {
      if (now.state !== 'leased') continue;
      const left = now.leases.filter(({ untilMs }) => untilMs >= farm.clock.now());
      this.model.set(id, left.length === 0 ? { state: 'queued' } : { state: 'leased', leases: left });
    }
    await this.forgetTrouble();
  }

  /** What is lost or given back again and again is given up at last; that is not what this is about. */
  async forgetTrouble(): Promise<void> {
    await farm.db.updateTable('tasks').set({ losses: 0 }).where('job_id', '=', this.#job).execute();
    const own = this.#wholes.map(({ id }) => id);
    await farm.db.deleteFrom('task_failures').where('task_id', 'in', own).execute();
  }

  async settle(passed: boolean): Promise<void> {
    await closeBatches(farm.db, new Date(farm.clock.now() + 3_600_000), 0);
    const closed = await farm.db
      .selectFrom('batches')
      .selectAll()
      .where('job_id', '=', this.#job)
      .where('state', '=', 'closed')
      .execute();
    const moved = await farm.db
      .selectFrom('tasks')
      .select('id')
      .where('state', '=', 'delivered')
      .where('batch_id', 'in', [...closed.map(({ id }) => id), ''] as never)
      .execute();
    for (const batch of closed) await applyOutcome(farm.context, batch, passed ? ended('pass') : UNJUDGED);
    for (const { id } of moved) {
      expect(this.model.get(id)).toEqual({ state: 'delivered' });
      this.model.set(id, { state: passed ? 'verified' : 'queued' });
    }
  }

  async agrees(): Promise<void> {
    const rows = await farm.db
      .selectFrom('tasks')
      .select(['id', 'state', 'node_id', 'token'])
      .where('job_id', '=', this.#job)
      .execute();
    expect(rows).toHaveLength(FRAMES);
    for (const { id, state, node_id, token } of rows) {
      const now = this.model.get(id);
      expect(state).toBe(now?.state);
      const newest = now?.state === 'leased' ? now.leases.at(-1) : undefined;
      if (newest === undefined) continue;
      expect(node_id).toBe(newest.node.id);
      // The older one of two that are no more has the one before.
      expect([newest.token, newest.token + 1]).toContain(token);
    }
  }
}

/** What a node sent of a lease: again, it sends the same. */
const sent = new WeakMap<TaskRow, Completion>();

/** Null where the node had the same frame once more meanwhile, and its result is in the batch: no node signs it twice. */
async function signed(node: TestNode, task: TaskRow): Promise<Completion | null> {
  const before = sent.get(task);
  if (before !== undefined) return before;
  try {
    const made = await completionOf(farm, node, task);
    sent.set(task, made);
    return made;
  } catch (error) {
    if (isFarmError(error, 'MESSAGE_INVALID')) return null;
    throw error;
  }
}

/** Whether it was taken; refused is what a node is told of a lease that is over. */
async function send({ kind, node, task }: Message): Promise<boolean> {
  const { id: taskId, token } = task;
  try {
    switch (kind) {
      case 'beat':
        return (await extendLeases(farm.context, node.id, [{ taskId, token, progress: 0 }])).length === 0;
      case 'fail': {
        const why = { failureClass: 'infrastructure' as const, code: 'X', message: 'the network broke' };
        await failTask(farm.context, node.id, { taskId, token, ...why });
        return true;
      }
      case 'complete':
        // Another result may join its batch in between: then it is to be signed again.
        for (;;) {
          const completion = await signed(node, task);
          if (completion === null) return false;
          const { moved, lost } = await completeTask(farm.context, node.id, completion);
          if (lost.length > 0) return false;
          if (moved === null) return true;
          sent.delete(task);
        }
      default:
        throw new Error(kind satisfies never);
    }
  } catch (error) {
    if (isFarmError(error, 'LEASE_LOST')) return false;
    throw error;
  }
}

/** Results in one transaction where more than one come; whoever has to sign again does so alone. */
async function sendTogether(messages: readonly Message[]): Promise<boolean[]> {
  const made: { message: Message; completion: Completion }[] = [];
  for (const message of messages) {
    const completion = message.kind === 'complete' ? await signed(message.node, message.task) : null;
    if (completion !== null) made.push({ message, completion });
  }
  const results = await completeAll(
    farm.context,
    made.map(({ message: { node }, completion: { batch, ...delivery } }) => ({
      nodeId: node.id,
      message: { deliveries: [delivery], batch },
    })),
  );
  const taken = new Map<Message, boolean>();
  for (const [index, { message }] of made.entries()) {
    const result = results[index];
    if (result === undefined) throw new Error('a result was not answered for');
    if ('error' in result) {
      if (!isFarmError(result.error, 'LEASE_LOST')) throw result.error;
      taken.set(message, false);
    } else if (result.value.moved === null) taken.set(message, true);
    else if (result.value.lost.length > 0) taken.set(message, false);
    else sent.delete(message.task);
  }
  const flags: boolean[] = [];
  for (const message of messages) flags.push(taken.get(message) ?? (await send(message)));
  return flags;
}

type Step =
  | { do: 'lease'; node: number }
  | { do: 'copy'; node: number; which: number }
  | { do: 'deliver'; which: number[]; keep: boolean; together: boolean }
  | { do: 'time'; share: number }
  | { do: 'settle'; passed: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('lease' as const), node: fc.nat(2) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('copy' as const), node: fc.nat(2), which: fc.nat(FRAMES - 1) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      which: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 3 }),
      keep: fc.boolean(),
      together: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('time' as const),
      share: fc.double({ min: 0.2, max: 1.2, noNaN: true }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('settle' as const), passed: fc.boolean() }) },
);

async function play(one: Farm, plan: readonly Step[]): Promise<void> {
  for (const now of plan) {
    if (now.do === 'lease') await one.lease(nodes[now.node] as TestNode);
    if (now.do === 'copy') await one.copy(nodes[now.node] as TestNode, now.which);
    if (now.do === 'time') await one.passTime(now.share);
    if (now.do === 'settle') await one.settle(now.passed);
    if (now.do === 'deliver' && one.network.length > 0) {
      const picked = [...new Set(now.which.map((which) => which % one.network.length))];
      const messages = picked.flatMap((index) => one.network[index] ?? []);
      await one.deliver(messages, now.together);
      if (!now.keep) for (const message of messages) one.network.splice(one.network.indexOf(message), 1);
    }
  }
}

it('gives a task to one at a time, takes one result of it, loses none and pays each once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 30 }), async (plan) => {
      const { id, wholes } = await farm.addJob({
        frames: Array.from({ length: FRAMES }, (_, index) => index + 1),
        whole: true,
        exr: false,
      });
      const one = new Farm(id, wholes);
      await play(one, plan);
      await one.agrees();
      // Whatever happened: everything is rendered in the end, while every old message comes once more.
      await one.passTime(1.2);
      for (let round = 0; round < FRAMES && (await farm.job(id)).state === 'active'; round++) {
        for (const node of nodes) {
          await one.forgetTrouble();
          if (!(await one.lease(node))) continue;
          const fresh = one.network.slice(-1);
          await one.deliver(fresh);
        }
        for (const message of one.network) await one.deliver([message]);
        await one.settle(true);
      }
      await one.agrees();
      const job = await farm.job(id);
      expect(job).toMatchObject({ state: 'completed', tasks_verified: FRAMES, frames_done: FRAMES });
      // Each result in one batch that passed.
      expect(BigInt(job.spent)).toBe(wholes.reduce((sum, { price }) => sum + BigInt(price), 0n));
    }),
    { numRuns: RUNS },
  );
});
