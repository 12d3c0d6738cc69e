/** Whether a farm waits for nothing but a verifier that is not there: then only the contracts' windows help. */
import type { FarmChain } from '../../platform/chain/chain.ts';
import { pause } from '../../platform/wait.ts';
import type { JobView } from '../../protocol/job.ts';
import type { BatchView } from '../../protocol/verdict.ts';
import { chainOf } from '../support/chain-of.ts';
import type { TestFarm } from '../support/farm.ts';

/** Long enough for whatever was on its way when it was looked at. */
const STILL_MS = 3_000;

/** True after a while in which nothing moved, and in which every batch that is under way waited for `absent`. */
export async function isStuck(
  farm: TestFarm,
  jobs: readonly JobView[],
  batches: readonly BatchView[],
  absent: string,
  signal: AbortSignal,
): Promise<boolean> {
  const open = jobs.filter(({ escrow }) => escrow !== 'closed');
  if (open.some(({ state, tasks }) => state === 'opening' || tasks.leased > 0)) return false;
  const chain = await chainOf(farm);
  const { verifiers } = await farm.client.info(signal);
  const address = verifiers.find(({ id }) => id === absent)?.address;
  if (address === undefined) throw new Error(`no verifier ${absent}`);
  if (!(await allWaitFor(chain, batches, address, signal))) return false;
  const block = await chain.blockNumber(signal);
  await pause(STILL_MS, signal);
  return (await chain.blockNumber(signal)) === block && (await allWaitFor(chain, batches, address, signal));
}

async function allWaitFor(
  chain: FarmChain,
  batches: readonly BatchView[],
  absent: string,
  signal: AbortSignal,
): Promise<boolean> {
  const keys = batches.flatMap(({ state, batchKey }) =>
    ['settled', 'open', 'closed'].includes(state) || batchKey === null ? [] : [batchKey],
  );
  if (keys.length === 0) return false;
  for (const [index, batch] of (await chain.batches(keys, signal)).entries()) {
    const key = keys[index];
    if (key === undefined) return false;
    if (batch.state === 'committed' && (await chain.drawerOf(key, signal)) === absent) continue;
    if (['drawn', 'second'].includes(batch.state) && batch.asked[0] === absent) continue;
    return false;
  }
  return true;
}
