/**
 * Leases against a model of them: messages arrive late, twice, in any order, at the same moment. What was taken is
 * what the model says, no task is lost, and each is paid once.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
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
type ModelTask =
  | { state: 'queued' | 'verified' }
  | { state: 'leased'; node: TestNode; token: number; untilMs: number }
  | { state: 'delivered' };

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
    this.model.set(row.id, { state: 'leased', node, token: row.token, untilMs });
    // Its result twice, as of a node that had no answer.
    const kinds = ['beat', 'fail', 'complete', 'complete'] as const;
    for (const kind of kinds) this.network.push({ kind, node, task: row });
    return true;
  }

  /** Whether the lease that a message is of is the task's. */
  #holds({ node, task }: Message): boolean {
    const now = this.model.get(task.id);
    return now?.state === 'leased' && now.node.id === node.id && now.token === task.token;
  }

  /** These reach the farm at the same moment. */
  async deliver(messages: readonly Message[]): Promise<void> {
    const right = messages.map((message) => this.#holds(message));
    const taken = await Promise.all(messages.map((message) => send(message)));
    const rivals = (message: Message): boolean[] =>
      messages.flatMap((other, index) =>
        other.task.id === message.task.id && message.kind !== 'beat' && other.kind !== 'beat'
          ? [taken[index] === true]
          : [],
      );
    for (const [index, message] of messages.entries()) {
      // A beat beside the end of its lease may come before it or after it.
      const alone = messages.every((other) => other === message || other.task.id !== message.task.id);
      if (alone) expect(taken[index]).toBe(right[index]);
      else if (taken[index]) expect(right[index]).toBe(true);
      // Of several ends of one lease exactly one is taken.
      if (right[index] && message.kind !== 'beat') expect(rivals(message).filter(Boolean)).toHaveLength(1);
    }
    for (const [index, message] of messages.entries()) if (taken[index]) this.#note(message);
  }

  #note({ kind, task }: Message): void {
    const now = this.model.get(task.id);
    if (kind === 'complete') this.model.set(task.id, { state: 'delivered' });
    if (kind === 'fail') this.model.set(task.id, { state: 'queued' });
    if (kind === 'beat' && now?.state === 'leased')
      this.model.set(task.id, { ...now, untilMs: farm.clock.now() + farm.context.config.leaseMs });
  }

  async passTime(share: number): Promise<void> {
    farm.clock.advance(Math.ceil(share * farm.context.config.leaseMs));
    await requeueLostLeases(farm.context);
    for (const [id, now] of this.model)
      if (now.state === 'leased' && now.untilMs < farm.clock.now()) this.model.set(id, { state: 'queued' });
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
      if (now?.state === 'leased') expect([node_id, token]).toEqual([now.node.id, now.token]);
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

type Step =
  | { do: 'lease'; node: number }
  | { do: 'deliver'; which: number[]; keep: boolean }
  | { do: 'time'; share: number }
  | { do: 'settle'; passed: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('lease' as const), node: fc.nat(2) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      which: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 3 }),
      keep: fc.boolean(),
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
    if (now.do === 'time') await one.passTime(now.share);
    if (now.do === 'settle') await one.settle(now.passed);
    if (now.do === 'deliver' && one.network.length > 0) {
      const picked = [...new Set(now.which.map((which) => which % one.network.length))];
      const messages = picked.flatMap((index) => one.network[index] ?? []);
      await one.deliver(messages);
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
