/**
 * Nodes deliver: their receipts join their batches, in one transaction guarded by the tokens of the leases. What arrives
 * at the same moment goes together, each message judged for itself.
 */
import { sql } from 'kysely';
import { jobKey } from '../../platform/chain/keys.ts';
import { escrowDomain, recoverCommitSigner } from '../../platform/chain/signing.ts';
import { inTransaction } from '../../platform/database/in-transaction.ts';
import type { Settled } from '../../platform/together.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Bytes32, JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import {
  type BatchSignature,
  type Complete,
  type CompleteReply,
  type Delivery,
  type LeaseGrant,
  MAX_RECEIPTS,
} from '../../protocol/messages.ts';
import { requireExtraFiles } from '../assembly/extra-files.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, NodeGpu } from '../database/schema.ts';
import { batchStates, openBatches } from '../settlement/open-batch.ts';
import { filesToDeliver } from '../verification/hand-over.ts';
import { requireReceiptFits } from './check-receipt.ts';
import type { TaskRow } from './claim-run.ts';
import { type NamedLease, olderLeases } from './copies/two-leases.ts';
import { deviceClassOf } from './nodes.ts';
import { type Accepted, recordDeliveries, type Taken } from './record-deliveries.ts';

/** `queued`: others have something to do because of it. */
export type Completed = CompleteReply & { queued: boolean };

/** A node's message. */
export type Completion = { nodeId: NodeId; message: Complete };

/** Messages taken in one transaction. */
export const MAX_COMPLETIONS = 64;

/** {@link completeAll} for one. */
export async function completeTasks(
  context: CoordinatorContext,
  nodeId: NodeId,
  message: Complete,
): Promise<Completed> {
  const [result] = await completeAll(context, [{ nodeId, message }]);
  if (result === undefined) throw new Error('a delivery was not answered for');
  if ('error' in result) throw result.error;
  return result.value;
}

/**
 * Takes each message's results, all of it or none. Answers with the batch to sign for when it is not the one the node
 * signed (it was closed or grew) or when some of the leases are over, which it names; the others are kept then. The
 * error of a message is LEASE_LOST when none of its leases is held, MESSAGE_INVALID for receipts that do not fit them.
 */
export async function completeAll(
  context: CoordinatorContext,
  completions: readonly Completion[],
): Promise<Settled<Completed>[]> {
  const results = new Map<Completion, Settled<Completed>>();
  const settle = (one: Completion, result: Settled<Completed>): void => void results.set(one, result);
  const prepared = await prepareAll(context, completions, settle);
  // Two messages of a node may be for the same batch: what the second has to sign depends on what becomes of the first.
  for (let left = prepared; left.length > 0; ) {
    const nodes = new Set<NodeId>();
    const now = left.filter(({ nodeId }) => !nodes.has(nodeId) && nodes.add(nodeId));
    left = left.filter((one) => !now.includes(one));
    await takeTogether(context, now, settle);
  }
  return completions.map((one) => results.get(one) ?? { error: new Error('a delivery was left out') });
}

type Settle = (one: Completion, result: Settled<Completed>) => void;

/** A message whose files are here. */
type Prepared = {
  completion: Completion;
  nodeId: NodeId;
  jobId: JobId;
  kind: TaskRow['kind'];
  deliveries: readonly (Delivery & { leaf: Bytes32 })[];
  signed: BatchSignature;
  terms: Terms;
};

/** What needs no transaction: the job and the node of each message, its files, its leaves. */
async function prepareAll(
  context: CoordinatorContext,
  completions: readonly Completion[],
  settle: Settle,
): Promise<Prepared[]> {
  const ofOneRun = completions.flatMap((completion) => {
    try {
      return [{ completion, nodeId: completion.nodeId, ...requireOneRun(completion.message.deliveries) }];
    } catch (error) {
      settle(completion, { error });
      return [];
    }
  });
  const terms = await readTerms(context, ofOneRun);
  const prepared = await Promise.all(
    ofOneRun.map(async ({ completion, nodeId, jobId, kind }): Promise<Prepared[]> => {
      try {
        const of = terms.get(termsKey(jobId, nodeId));
        if (of === undefined) throw new FarmError('LEASE_LOST', `there is no job ${jobId} for ${nodeId}`);
        const { deliveries, batch: signed } = completion.message;
        await requireFiles(
          context,
          deliveries.map(({ receipt }) => receipt),
          of.exr,
        );
        const hashed = deliveries.map((one) => ({ ...one, leaf: receiptLeaf(one.receipt) }));
        return [{ completion, nodeId, jobId, kind, deliveries: hashed, signed, terms: of }];
      } catch (error) {
        settle(completion, { error });
        return [];
      }
    }),
  );
  return prepared.flat();
}

/** At most one message of each node. */
async function takeTogether(
  context: CoordinatorContext,
  prepared: readonly Prepared[],
  settle: Settle,
): Promise<void> {
  try {
    const results = await inTransaction(context.db, (tx) => take(context, tx, prepared));
    for (const [index, { completion }] of prepared.entries())
      settle(completion, results[index] ?? { error: new Error('a delivery was not judged') });
  } catch (error) {
    const [first] = prepared;
    if (first !== undefined && prepared.length === 1) settle(first.completion, { error });
    // One of them may be at fault, which is no reason to lose the others.
    else for (const one of prepared) await takeTogether(context, [one], settle);
  }
}

async function take(
  context: CoordinatorContext,
  tx: FarmQuery,
  prepared: readonly Prepared[],
): Promise<Settled<Completed>[]> {
  const now = new Date(context.clock.now());
  const held = await heldTasks(
    tx,
    prepared.flatMap(({ nodeId, deliveries }) => deliveries.map((lease) => ({ ...lease, nodeId }))),
  );
  const some = prepared.filter(({ nodeId, deliveries }) =>
    deliveries.some(({ taskId }) => leaseOf(held, nodeId, taskId) !== undefined),
  );
  const batches = await batchesOf(tx, some, now);
  const accepted: Accepted[] = [];
  const results = prepared.map((one): Settled<Completed> | Accepted => {
    try {
      const judged = judge(context, one, held, batches.get(one));
      if (!('taken' in judged)) return { value: judged };
      accepted.push(judged);
      // Whoever else has it, in a message of the same moment, comes too late.
      for (const { task } of judged.taken) held.delete(task.id);
      return judged;
    } catch (error) {
      return { error };
    }
  });
  const queued = await recordDeliveries(tx, context.events, accepted, now);
  return results.map((result) =>
    'taken' in result
      ? { value: { moved: null, lost: [], queued: queued.has(result.taken[0]?.task.job_id as JobId) } }
      : result,
  );
}

async function batchesOf(
  tx: FarmQuery,
  prepared: readonly Prepared[],
  now: Date,
): Promise<Map<Prepared, LeaseGrant['batch']>> {
  if (prepared.length === 0) return new Map();
  const keys = prepared.map(({ jobId, nodeId, kind, terms }) => {
    return { jobId, nodeId, kind, address: terms.node.address };
  });
  const states = await batchStates(tx, await openBatches(tx, keys, now, { lock: true }));
  return new Map(prepared.flatMap((one, index) => (states[index] ? [[one, states[index]]] : [])));
}

/** What becomes of one message. Throws LEASE_LOST, MESSAGE_INVALID. */
function judge(
  context: CoordinatorContext,
  { nodeId, jobId, deliveries, signed, terms }: Prepared,
  held: Held,
  batch: LeaseGrant['batch'] | undefined,
): Completed | Accepted {
  const lost = deliveries.map(({ taskId }) => taskId).filter((id) => leaseOf(held, nodeId, id) === undefined);
  if (lost.length === deliveries.length || batch === undefined) {
    const names = deliveries.map(({ taskId }) => taskId).join(', ');
    throw new FarmError('LEASE_LOST', `the lease on ${names} is over`);
  }
  if (lost.length > 0) return { moved: batch, lost, queued: false };
  const { address } = terms.node;
  const rendered = { engine: terms.job.engine, device_class: deviceClassOf(terms.node, terms.job) };
  const taken = deliveries.flatMap((delivery): Taken[] => {
    const task = leaseOf(held, nodeId, delivery.taskId);
    if (task === undefined) return [];
    requireReceiptFits(delivery.receipt, task, { address, ...rendered });
    return [{ delivery, task, leaf: delivery.leaf }];
  });
  const leaves = [...batch.leaves, ...taken.map(({ leaf }) => leaf)];
  const amount = taken.reduce((sum, { task }) => sum + BigInt(task.price), batch.amount);
  if (
    leaves.length > MAX_RECEIPTS ||
    signed.batchId !== batch.batchId ||
    signed.count !== leaves.length ||
    signed.amount !== amount ||
    signed.root !== receiptRoot(leaves)
  ) {
    return { moved: batch, lost: [], queued: false };
  }
  requireSignature(context, address, jobId, batch.batchKey, signed);
  return { taken, signed, before: batch.leaves.length, nodeId };
}

/** The job and kind of all of them. Throws MESSAGE_INVALID for several, or one task twice. */
function requireOneRun(deliveries: readonly Delivery[]): Pick<Delivery['receipt'], 'jobId' | 'kind'> {
  const first = deliveries[0]?.receipt;
  const tasks = new Set(deliveries.map(({ taskId }) => taskId));
  if (
    first === undefined ||
    tasks.size !== deliveries.length ||
    deliveries.some(({ receipt }) => receipt.jobId !== first.jobId || receipt.kind !== first.kind)
  )
    throw new FarmError('MESSAGE_INVALID', 'results are handed in once, those of one job and kind together');
  return { jobId: first.jobId, kind: first.kind };
}

/** Throws MESSAGE_INVALID for a result whose files are not here. */
async function requireFiles(
  { blobs }: CoordinatorContext,
  receipts: readonly Delivery['receipt'][],
  exr: boolean,
): Promise<void> {
  const digests = new Set(receipts.flatMap((receipt) => filesToDeliver(receipt, exr)));
  for (const digest of digests) {
    if (digest !== null && !(await blobs.has(digest)))
      throw new FarmError('MESSAGE_INVALID', `the result ${digest} was not delivered`);
  }
  const lists = new Set(receipts.map(({ extraFilesDigest }) => extraFilesDigest));
  for (const list of lists) if (list !== undefined) await requireExtraFiles(blobs, list);
}

/** What of a job and of the node that delivers to it does not change while it does. */
type Terms = {
  exr: boolean;
  job: { engine: string; deviceClass: string | undefined };
  node: {
    address: string;
    engine: string;
    device_class: string;
    engines: Record<string, string>;
    gpus: NodeGpu[];
  };
};

const termsKey = (jobId: JobId, nodeId: NodeId): string => `${jobId} ${nodeId}`;

async function readTerms(
  context: CoordinatorContext,
  pairs: readonly { jobId: JobId; nodeId: NodeId }[],
): Promise<Map<string, Terms>> {
  if (pairs.length === 0) return new Map();
  const { rows } = await sql<
    Terms['node'] & {
      job_id: JobId;
      node_id: NodeId;
      exr: boolean;
      job_engine: string;
      job_class: string | null;
    }
  >`
    select p.job_id, p.node_id, j.exr, j.engine as job_engine, j.device_class as job_class,
           n.address, n.engine, n.device_class, n.engines, n.gpus
    from unnest(${pairs.map(({ jobId }) => jobId)}::text[], ${pairs.map(({ nodeId }) => nodeId)}::text[])
      as p(job_id, node_id)
    join jobs j on j.id = p.job_id join nodes n on n.id = p.node_id`.execute(context.db);
  return new Map(
    rows.map(({ job_id, node_id, exr, job_engine, job_class, ...node }) => [
      termsKey(job_id, node_id),
      { exr, job: { engine: job_engine, deviceClass: job_class ?? undefined }, node },
    ]),
  );
}

/** The task, if this node still holds it under this token; LEASE_LOST otherwise. */
export async function leasedTask(
  tx: FarmQuery,
  nodeId: NodeId,
  lease: { taskId: TaskId; token: number },
): Promise<TaskRow> {
  const task = leaseOf(await heldTasks(tx, [{ ...lease, nodeId }]), nodeId, lease.taskId);
  if (task === undefined) throw new FarmError('LEASE_LOST', `the lease on ${lease.taskId} is over`);
  return task;
}

/** Tasks as those hold them who named them rightly: one for each node, and there are two where one of them has a copy. */
type Held = Map<TaskId, TaskRow[]>;

/** By node: that another node holds a task says nothing for this one, whose message came at the same moment. */
function leaseOf(held: Held, nodeId: NodeId, taskId: TaskId): TaskRow | undefined {
  return held.get(taskId)?.find((task) => task.node_id === nodeId);
}

/** Those of the tasks that their nodes still hold under their tokens, locked. */
async function heldTasks(
  tx: FarmQuery,
  leases: readonly { taskId: TaskId; token: number; nodeId: NodeId }[],
): Promise<Held> {
  const ids = [...new Set(leases.map(({ taskId }) => taskId))];
  // Locked in the order of their ids, whoever locks them: two that want the same rows wait for each other in turn.
  const { rows } = await sql<TaskRow>`
    select t.*
    from (select id from unnest(${ids}::text[]) as u(id) order by id) l
    cross join lateral (select * from tasks t where t.id = l.id and t.state = 'leased' for update) t`.execute(
    tx,
  );
  const tasks = new Map(rows.map((row) => [row.id, row]));
  const held: Held = new Map();
  const note = (task: TaskRow): unknown => held.set(task.id, [...(held.get(task.id) ?? []), task]);
  const others: NamedLease[] = [];
  for (const { taskId, token, nodeId } of leases) {
    const task = tasks.get(taskId);
    if (task === undefined) continue;
    if (task.token === token && task.node_id === nodeId) note(task);
    else others.push({ taskId, token, nodeId });
  }
  for (const task of await olderLeases(tx, others, tasks)) note(task);
  return held;
}

function requireSignature(
  { chain }: CoordinatorContext,
  address: string,
  jobId: JobId,
  batchKey: Bytes32,
  { root, count, amount, signature }: BatchSignature,
): void {
  const signer = recoverCommitSigner(
    escrowDomain(chain.chainId, chain.escrowAddress),
    { jobKey: jobKey(jobId), batchKey, root, count, amount },
    signature,
  );
  if (signer !== address)
    throw new FarmError('MESSAGE_INVALID', 'the batch is not signed by the node that delivers it');
}
