/** The process that plays the nodes, each on a connection of its own, as told by the benchmark (its parent). */
import { createLog } from '../../platform/log.ts';
import { joinFarm } from '../../platform/nats/join-farm.ts';
import { pause } from '../../platform/wait.ts';
import { toFarmError } from '../../protocol/errors.ts';
import type { DriverCounts, DriverSetUp, FromDriver, Load, ToDriver } from './driver-messages.ts';
import { SyntheticNode } from './synthetic-node.ts';

/** Nodes that connect at a time: a farm is not stormed by all of its nodes in one moment, and this is not measured. */
const AT_ONCE = 50;
/** Nodes become idle in steps of this: timers are not more exact. */
const STEP_MS = 5;

const counts: DriverCounts = {
  ...{ leased: 0, completed: 0, moved: 0, empty: 0, errors: 0 },
  lastError: '',
  waitsMs: [],
};
const nodes: SyntheticNode[] = [];
const log = createLog('nodes', 'warn');
const never = new AbortController().signal;
let stopping = new AbortController();
let working: Promise<unknown> = Promise.resolve();

const say = (message: FromDriver): void => void process.send?.(message);

async function setUpNodes(setUp: DriverSetUp): Promise<void> {
  const left = [...setUp.nodes];
  const connectSome = async (): Promise<void> => {
    for (let member = left.pop(); member !== undefined; member = left.pop()) {
      const { nats } = await joinFarm(setUp, { role: 'node', ...member }, log, never);
      const node = new SyntheticNode(member, nats, setUp, counts);
      await node.hello();
      nodes.push(node);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, connectSome));
}

async function work(node: SyntheticNode, tasksPerRun: number): Promise<void> {
  try {
    await node.work(tasksPerRun);
  } catch (error) {
    counts.errors += 1;
    counts.lastError = toFarmError(error).message;
  }
}

/** Every node asks again as soon as it has delivered. */
async function saturate(tasksPerRun: number, signal: AbortSignal): Promise<void> {
  await Promise.all(
    nodes.map(async (node) => {
      while (!signal.aborted) await work(node, tasksPerRun);
    }),
  );
}

/** So many nodes become idle each second, at even distances, whatever becomes of those before. */
async function pace(tasksPerRun: number, perSecond: number, signal: AbortSignal): Promise<void> {
  const idle = [...nodes];
  const busy = new Set<Promise<void>>();
  const startedMs = performance.now();
  let begun = 0;
  while (!signal.aborted) {
    const due = ((performance.now() - startedMs) / 1_000) * perSecond;
    for (; begun < due; begun++) {
      const node = idle.shift();
      // All 1,500 at work: the farm does not keep up, which the waiting times show.
      if (node === undefined) break;
      const done = work(node, tasksPerRun).then(() => {
        idle.push(node);
        busy.delete(done);
      });
      busy.add(done);
    }
    await pause(STEP_MS, signal);
  }
  await Promise.all(busy);
}

function begin({ tasksPerRun, perSecond }: Load): void {
  stopping = new AbortController();
  const { signal } = stopping;
  working = perSecond === null ? saturate(tasksPerRun, signal) : pace(tasksPerRun, perSecond, signal);
}

process.on('message', (message: ToDriver) => {
  switch (message.type) {
    case 'set-up':
      void setUpNodes(message.setUp).then(() => say({ type: 'ready' }));
      return;
    case 'load':
      return begin(message.load);
    case 'stop':
      stopping.abort();
      void working.then(() => say({ type: 'stopped' }));
      return;
    case 'counts':
      say({ type: 'counts', counts: { ...counts, waitsMs: counts.waitsMs.splice(0) } });
      return;
  }
});
process.on('disconnect', () => process.exit(0));
