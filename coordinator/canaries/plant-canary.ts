/** Writes a canary down as what it looks like: a job, its tasks, and a closed batch that settlement puts on chain. */
import { jobKey } from '../../platform/chain/keys.ts';
import { addressOf, escrowDomain, type PrivateKey, signCommit } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { newIdBody } from '../../platform/new-id.ts';
import type { EngineInfo } from '../../platform/render/runtime.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import type { BatchId, JobId, TaskId } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import type { JobRow } from '../settlement/job-escrow.ts';
import { freeLane } from '../settlement/lanes.ts';
import { taskPrice } from '../submission/quote.ts';
import type { CanaryNode } from './canary-node.ts';
import type { MadeTask } from './make-canary.ts';

export type Planting = {
  beside: Pick<BatchRow, 'id'>;
  /** The job of that batch: the canary's is one of the same scene. */
  job: Pick<JobRow, 'scene' | 'spec' | 'deadline_at'>;
  bad: boolean;
  node: CanaryNode;
  engine: Pick<EngineInfo, 'id' | 'deviceClass'>;
  tasks: readonly MadeTask[];
};

/**
 * In one transaction. The farm has put the money for it into the account that jobs are paid from: nothing of a requester's
 * is touched, and what comes back stays there.
 */
export async function plantCanary(
  context: CoordinatorContext,
  planting: Planting,
  signal: AbortSignal,
): Promise<BatchId> {
  const { chain, clock, db } = context;
  const { node, job, tasks } = planting;
  const now = new Date(clock.now());
  const jobId = `job_${newIdBody(now.getTime())}` as JobId;
  const receipts = tasks.map((task) => receiptFor(task, jobId, planting, now));
  const amount = receipts.reduce((sum, { price }) => sum + price, 0n);
  const dearest = receipts.reduce((most, { price }) => (price > most ? price : most), 0n);
  const payer = addressOf(context.secrets.requesterKey as string as PrivateKey);
  await chain.mintTestTokens(payer, amount, signal);
  const id = `batch_${newIdBody(now.getTime())}` as BatchId;
  await db.transaction().execute(async (tx) => {
    await tx
      .insertInto('jobs')
      .values({
        ...{ id: jobId, scene: job.scene, warnings: '[]', state: 'opening', admission: 'admitted' },
        spec: JSON.stringify({ ...job.spec, frames: [...new Set(tasks.map(({ frame }) => frame))] }),
        ...{ quote: amount.toString(), max_task_price: dearest.toString() },
        ...{ deadline_at: job.deadline_at, created_at: now, canary: true, tasks_total: tasks.length },
      })
      .execute();
    const lane = await freeLane(tx, node.address);
    const root = receiptRoot(receipts.map(receiptLeaf));
    const terms = { jobKey: jobKey(jobId), batchKey: lane.chain_key, root, count: receipts.length, amount };
    await tx
      .insertInto('batches')
      .values({
        ...{ id, job_id: jobId, node_id: node.id, node_address: node.address, state: 'closed' },
        ...{ kind: (receipts[0] as Receipt).kind, receipts: receipts.length, amount: amount.toString() },
        ...{ root, signature: signCommit(escrowDomain(chain.chainId, chain.escrowAddress), terms, node.key) },
        // Nothing is planted beside a canary.
        ...{ opened_at: now, rolled: true },
        ...lane,
      })
      .execute();
    await insertTasks(tx, receipts, { id, node });
    await tx
      .insertInto('canaries')
      .values({ batch_id: id, beside: planting.beside.id, bad: planting.bad, planted_at: now })
      .execute();
  });
  return id;
}

function receiptFor(task: MadeTask, jobId: JobId, { node, engine }: Planting, now: Date): Receipt {
  const { kind, frame, rect, samples, exrDigest, pixelDigest, pictureDigest } = task;
  return {
    ...{ jobId, taskId: `task_${newIdBody(now.getTime())}` as TaskId, kind, node: node.address },
    ...{ frame, rect, samples, exrDigest, pixelDigest, pictureDigest },
    ...{ engine: engine.id, deviceClass: engine.deviceClass, price: taskPrice(kind, rect, samples) },
  };
}

async function insertTasks(
  tx: FarmQuery,
  receipts: readonly Receipt[],
  { id, node }: { id: BatchId; node: CanaryNode },
): Promise<void> {
  const rows = receipts.map((receipt, index) => {
    const { x, y, width, height } = receipt.rect;
    const { taskId, jobId, kind, frame, samples, price } = receipt;
    return {
      ...{
        id: taskId,
        job_id: jobId,
        kind,
        frame,
        position: index,
        tile: index,
        x,
        y,
        width,
        height,
        samples,
      },
      // Nobody leases it: it begins where a node's work has ended.
      ...{ price: price.toString(), state: 'delivered' as const, node_id: node.id },
      ...{ batch_id: id, batch_index: index, leaf: receiptLeaf(receipt), receipt: toJson(receipt) },
    };
  });
  await tx.insertInto('tasks').values(rows).execute();
}
