/** What has to be true of a job whatever was killed, read through the API and the port to the chain. */
import { expect } from 'vitest';
import { jobKey } from '../../platform/chain/keys.ts';
import type { LoggedEvent } from '../../protocol/events.ts';
import type { JobView } from '../../protocol/job.ts';
import { chainOf } from '../support/chain-of.ts';
import type { TestFarm } from '../support/farm.ts';

const { signal } = new AbortController();

/** Every task done once and paid once, in the events, the receipts and on chain. Returns what nodes were paid. */
export async function requireDoneAndPaidOnce(
  farm: TestFarm,
  job: JobView,
  events: readonly LoggedEvent[],
): Promise<bigint> {
  expect(job).toMatchObject({ state: 'completed', spent: job.quote, refunded: 0n });
  expect(job.tasks.verified).toBe(job.tasks.total);
  requireDeliveredOnce(events, job.tasks.total);

  const batches = await farm.client.batches(job.id, signal);
  const paid = batches.filter((batch) => batch.outcome === 'pass');
  const chain = await chainOf(farm);
  const receipts: string[] = [];
  let amount = 0n;
  for (const batch of paid) {
    const own = await farm.client.receipts(job.id, batch.id, signal);
    expect(own).toHaveLength(batch.receipts);
    receipts.push(...own.map((receipt) => receipt.taskId));
    const onChain = await chain.batch(
      batch.batchKey ?? expect.fail(`batch ${batch.id} has no name on chain`),
    );
    expect(onChain).toMatchObject({ state: 'settled', outcome: 'pass', count: batch.receipts });
    amount += onChain.amount;
  }
  // One receipt for every task, in one paid batch.
  expect(receipts).toHaveLength(job.tasks.total);
  expect(new Set(receipts).size).toBe(job.tasks.total);
  expect(amount).toBe(job.quote);
  const onChain = await chain.job(jobKey(job.id));
  expect(onChain).toMatchObject({
    state: 'closed',
    released: job.quote,
    refunded: 0n,
    reserved: 0n,
    free: 0n,
  });
  return amount;
}

/** A task is delivered again only after it went back to the queue, and is delivered in the end. */
function requireDeliveredOnce(events: readonly LoggedEvent[], tasks: number): void {
  const delivered = new Set<string>();
  const twice: string[] = [];
  for (const { event } of events) {
    if (event.type === 'task.requeued') delivered.delete(event.taskId);
    if (event.type !== 'task.delivered') continue;
    if (delivered.has(event.taskId)) twice.push(event.taskId);
    delivered.add(event.taskId);
  }
  expect(twice).toEqual([]);
  expect(delivered.size).toBe(tasks);
  const settled = events.flatMap(({ event }) => (event.type === 'batch.settled' ? [event.batchId] : []));
  expect(new Set(settled).size).toBe(settled.length);
  const done = events.flatMap(({ event }) => (event.type === 'frame.done' ? [event.frame] : []));
  expect(new Set(done).size).toBe(done.length);
}
