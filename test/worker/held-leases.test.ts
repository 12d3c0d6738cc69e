import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { nodeIdSchema, type TaskId } from '../../protocol/ids.ts';
import { MAX_BEATS, NODE_EXCHANGES } from '../../protocol/messages.ts';
import { HeldLeases } from '../../worker/held-leases.ts';

const PATIENT = { timeout: 30_000, interval: 5 };
const taskId = (index: number): TaskId => `task_${index}` as TaskId;

/** Leases whose farm has lost some of them. */
function held(lost: () => TaskId[] = () => []) {
  const beats: { taskId: TaskId; progress: number }[][] = [];
  const nats = {
    request: async (subject: string, payload: unknown) => {
      expect(subject).toBe('node.node-1.heartbeat');
      const { leases } = NODE_EXCHANGES.heartbeat.request.parse(JSON.parse(String(payload)));
      beats.push(leases);
      const names = new Set(leases.map((lease) => lease.taskId));
      const value = { lost: lost().filter((id) => names.has(id)) };
      return { json: () => ({ ok: true, value }) };
    },
  };
  const leases = new HeldLeases({
    nodeId: nodeIdSchema.parse('node-1'),
    nats: nats as never,
    heartbeatMs: 1,
    log: pino({ level: 'silent' }),
  });
  return { leases, beats };
}
const lease = (index: number, onLost: () => void = () => undefined, progress = 0.5) => ({
  ...{ taskId: taskId(index), token: 1, onLost },
  progress: () => progress,
});

describe('the leases of a node', () => {
  it('are kept alive together, with their progress, until they are let go', async () => {
    const { leases, beats } = held();
    const first = leases.hold(lease(1));
    const second = leases.hold(lease(2, undefined, 1.5));
    await vi.waitUntil(() => beats.length > 0, PATIENT);
    expect(beats[0]).toMatchObject([
      { taskId: taskId(1), progress: 0.5 },
      { taskId: taskId(2), progress: 1 },
    ]);
    first[Symbol.dispose]();
    const before = beats.length;
    await vi.waitUntil(() => beats.length > before + 1, PATIENT);
    expect(beats.at(-1)).toMatchObject([{ taskId: taskId(2) }]);
    second[Symbol.dispose]();
    using _third = leases.hold(lease(3));
    await vi.waitUntil(() => beats.at(-1)?.[0]?.taskId === taskId(3), PATIENT);
    expect(beats.at(-1)).toHaveLength(1);
  });

  it('more than one message takes are told in several', async () => {
    const { leases, beats } = held();
    const all = Array.from({ length: MAX_BEATS + 1 }, (_, index) => leases.hold(lease(index)));
    await vi.waitUntil(() => beats.length > 1, PATIENT);
    expect(beats.slice(0, 2).map((beat) => beat.length)).toEqual([MAX_BEATS, 1]);
    for (const one of all) one[Symbol.dispose]();
  });

  it('say so when they are lost, those only', async () => {
    const { leases } = held(() => [taskId(2)]);
    const lost: number[] = [];
    using _first = leases.hold(lease(1, () => lost.push(1)));
    using _second = leases.hold(lease(2, () => lost.push(2)));
    await vi.waitUntil(() => lost.length > 0, PATIENT);
    expect(new Set(lost)).toEqual(new Set([2]));
  });
});
