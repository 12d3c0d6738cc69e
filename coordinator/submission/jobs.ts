/** Jobs: taken in one transaction, so that there is a whole job or none. */

import { newIdBody } from '../../platform/new-id.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Digest, JobId } from '../../protocol/ids.ts';
import type { JobRequest } from '../../protocol/job.ts';
import { DEFAULT_ACCOUNT, payerOf } from '../accounts/account-keys.ts';
import { requireBalance } from '../accounts/require-balance.ts';
import { requireWithinCaps } from '../accounts/spending.ts';
import { admissionAtStart } from '../admission/admissions.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, StoredWalletTerms } from '../database/schema.ts';
import { beginFrames, FIRST_TASKS } from '../splitting/move-windows.ts';
import { warningsFor } from './judge-inspection.ts';
import { type JobPlan, planJob } from './plan-job.ts';
import type { Scenes } from './scenes.ts';

/** After this long the escrow lets anybody close the job and send the rest of the money home. */
export const JOB_LIFETIME_MS = 14 * 24 * 3_600_000;

/** A request with every choice made. */
export type PlannedRequest = { request: JobRequest; plan: JobPlan; warnings: string[] };

/** What a job is called, how long it lives, and whose money it is; null: the farm's own account's. */
export type JobPayment = {
  id: JobId;
  deadlineAt: Date;
  requester: Address | null;
  walletTerms: StoredWalletTerms | null;
  /** In the transaction that writes the job down, before that: throws what stands against it. */
  allow?: (tx: FarmQuery) => Promise<void>;
};

/**
 * Plans the job and writes it down with its first tasks; the escrow is opened afterwards (settlement/job-escrow.ts). Throws
 * ACCOUNT_CAP where the account may not spend so much.
 */
export async function submitJob(
  context: CoordinatorContext,
  scenes: Scenes,
  request: JobRequest,
  signal: AbortSignal,
): Promise<JobId> {
  const planned = await planRequest(scenes, request, signal);
  const { quote } = planned.plan;
  const account = request.account ?? DEFAULT_ACCOUNT;
  const requester = await payerOf(context, context.db, account);
  await requireBalance(context, requester, quote, signal);
  const nowMs = context.clock.now();
  const payment: JobPayment = {
    id: newJobId(nowMs),
    deadlineAt: new Date(nowMs + JOB_LIFETIME_MS),
    requester,
    walletTerms: null,
    allow: (tx) => requireWithinCaps(tx, account, quote),
  };
  await storeJob(context, planned, payment);
  return payment.id;
}

export function newJobId(nowMs: number): JobId {
  return `job_${newIdBody(nowMs)}` as JobId;
}

/** Throws QUOTE_STALE where another job of the same wallet is on its way into the escrow; then nothing was written. */
export async function storeJob(
  context: CoordinatorContext,
  { request, plan, warnings }: PlannedRequest,
  { id, deadlineAt, requester, walletTerms, allow }: JobPayment,
): Promise<void> {
  const admission = await admissionAtStart(context, plan.spec);
  const now = new Date(context.clock.now());
  await context.db.transaction().execute(async (tx) => {
    await allow?.(tx);
    const row = await tx
      .insertInto('jobs')
      .values({
        id,
        scene: plan.spec.scene,
        // Its frames are kept as runs: the list may be longer than all the rest.
        spec: JSON.stringify({ ...plan.spec, frames: [] }),
        frame_runs: JSON.stringify(plan.runs),
        frames_total: plan.grid.framesTotal,
        tasks_total: plan.tasksTotal,
        warnings: JSON.stringify(warnings),
        state: 'opening',
        admission,
        quote: plan.quote.toString(),
        max_task_price: plan.maxTaskPrice.toString(),
        deadline_at: deadlineAt,
        created_at: now,
        account: request.account,
        priority: request.priority,
        max_nodes: request.maxNodes,
        pool: request.pool,
        preview_first: request.previewFirst,
        requester,
        wallet_terms: walletTerms === null ? null : JSON.stringify(walletTerms),
      })
      // The only rows that can be in its way: the same quote, or another one of the same wallet.
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    if (row === undefined) {
      throw new FarmError('QUOTE_STALE', 'another job of this wallet is on its way into the escrow', {
        kept: 'nothing was submitted, no money moved',
      });
    }
    await beginFrames(tx, row, 0, now, FIRST_TASKS);
    await context.events.add(
      tx,
      id,
      { type: 'job.submitted', tasks: plan.tasksTotal, quote: plan.quote.toString() },
      now,
    );
  });
}

/** Every choice of a job, with nothing written. Throws what stands in the way of it. */
export async function planRequest(
  scenes: Scenes,
  request: JobRequest,
  signal: AbortSignal,
): Promise<PlannedRequest> {
  const scene = await scenes.find(request.scene as Digest);
  if (scene === null) {
    throw new FarmError('NOT_FOUND', `no scene ${request.scene}; submit the scene first`, {
      kept: 'nothing was submitted',
    });
  }
  const wanted = { engine: request.engine ?? 'auto', device: request.device ?? 'any' };
  const chosen = await scenes.forJob(request.scene as Digest, scene, wanted, signal);
  const { engine, inspection } = chosen;
  const plan = planJob(request, inspection, engine);
  return { request, plan, warnings: [...chosen.warnings, ...warningsFor(inspection)] };
}
