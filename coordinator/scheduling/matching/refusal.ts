/** Whether a node may take work of a job at this moment, and if not, why. Pure. */
import { classKey } from '../../../platform/render/device-choice.ts';
import { assertNever } from '../../../protocol/errors.ts';
import type { FarmFacts, JobFacts, NodeFacts } from './facts.ts';

/** From what would take longest to change to what passes by itself; the first that holds is the reason. */
export type Refusal =
  | 'engine'
  | 'device'
  | 'pool'
  | 'price'
  | 'excluded'
  | 'deadline'
  | 'quarantined'
  | 'job-limit'
  | 'account-limit';

/** The first reason against it, or null. */
export function refusal(node: NodeFacts, job: JobFacts, farm: FarmFacts, nowMs: number): Refusal | null {
  const misfit = misfitOf(node, job);
  if (misfit !== null) return misfit;
  if (job.pool !== null && !node.pools.includes(job.pool)) return 'pool';
  if (node.ask !== null && job.cap !== null && node.ask > job.cap) return 'price';
  if (job.excluded.has(node.id)) return 'excluded';
  if (job.deadlineMs <= nowMs) return 'deadline';
  if (node.quarantinedUntilMs !== null && node.quarantinedUntilMs > nowMs) return 'quarantined';
  // A node that works on it already is counted already.
  if (job.inFlight.has(node.id)) return null;
  if (job.maxNodes !== null && job.inFlight.size >= job.maxNodes) return 'job-limit';
  const limit = farm.accounts.get(job.account)?.maxNodes ?? null;
  if (limit === null) return null;
  const busy = nodesOfAccount(farm, job.account);
  return !busy.has(node.id) && busy.size >= limit ? 'account-limit' : null;
}

function misfitOf({ device }: NodeFacts, { engine, deviceClass }: JobFacts): 'engine' | 'device' | null {
  switch (device.kind) {
    case 'cpu':
      if (deviceClass !== null) return 'device';
      return device.engines.includes(engine) ? null : 'engine';
    case 'gpu':
      if (deviceClass === null) return 'device';
      return device.classes.includes(classKey(engine, deviceClass)) ? null : 'engine';
    default:
      return assertNever(device);
  }
}

/** The nodes that work on anything of an account. */
export function nodesOfAccount(farm: FarmFacts, account: string): Set<string> {
  const busy = new Set<string>();
  for (const job of farm.jobs.values()) {
    if (job.account === account) for (const id of job.inFlight.keys()) busy.add(id);
  }
  return busy;
}
