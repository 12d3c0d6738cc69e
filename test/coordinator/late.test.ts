/** Which tasks get a copy, of plain data. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  chooseCopies,
  type Ending,
  LATE_FACTOR,
  LEAST_LATE_MS,
  LEAST_TIMES,
  MAX_COPIES,
  medianMs,
  type OpenLease,
  timesKey,
} from '../../coordinator/scheduling/copies/late.ts';
import type { FarmFacts, JobFacts, NodeFacts } from '../../coordinator/scheduling/matching/facts.ts';
import { type Digest, type JobId, jobIdSchema, nodeIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import { ENGINE } from '../support/coordinator-context.ts';

const NOW = 10_000_000;
const node = (name: string, changes: Partial<NodeFacts> = {}): NodeFacts => ({
  id: nodeIdSchema.parse(name),
  device: { kind: 'cpu', engines: [ENGINE] },
  pools: [],
  quarantinedUntilMs: null,
  warm: [],
  lastJob: null,
  ask: null,
  ...changes,
});
const JOB = jobIdSchema.parse('job_late');

function job(id: JobId, changes: Partial<JobFacts> = {}): JobFacts {
  return {
    id,
    seq: 1,
    account: 'default',
    priority: 50,
    scene: `scene of ${id}` as Digest,
    engine: ENGINE,
    deviceClass: null,
    deadlineMs: NOW + 3_600_000,
    maxNodes: null,
    pool: null,
    cap: null,
    excluded: new Set(),
    base: 0,
    usedMs: 0,
    usedTasks: 0,
    inFlight: new Map(),
    left: 0,
    ...changes,
  };
}

function farmOf(...jobs: JobFacts[]): FarmFacts {
  const account = { maxNodes: null, base: 0, usedMs: 0 };
  return {
    atMs: NOW,
    jobs: new Map(jobs.map((one) => [one.id, one])),
    accounts: new Map(jobs.map((one) => [one.account, account])),
  };
}

/** A task that `slow` has had for so long. */
function lease(name: string, forMs: number, changes: Partial<OpenLease> = {}): OpenLease {
  return {
    taskId: taskIdSchema.parse(`task_${name}`),
    token: 1,
    jobId: JOB,
    kind: 'frame',
    frame: 7,
    tile: 0,
    nodeId: nodeIdSchema.parse('slow'),
    sinceMs: NOW - forMs,
    avoid: [],
    ...changes,
  };
}

/** The end of a job whose frames took 20 s each. */
function ending(changes: Partial<Ending> = {}): Ending {
  return {
    leases: [lease('a', 95_000)],
    times: new Map([[timesKey({ jobId: JOB, kind: 'frame' }), [18_000, 20_000, 21_000]]]),
    copies: new Map(),
    idle: [node('quick')],
    farm: farmOf(job(JOB)),
    queued: new Set(),
    nowMs: NOW,
    ...changes,
  };
}

const given = (changes: Partial<Ending> = {}): string[] =>
  chooseCopies(ending(changes)).map(({ lease: { taskId }, node: { id } }) => `${taskId} ${id}`);

describe('a copy of the last task of a job', () => {
  it('is for the idle node, with the reason in words', () => {
    expect(chooseCopies(ending())).toEqual([
      expect.objectContaining({
        node: expect.objectContaining({ id: 'quick' }),
        reason: 'slow has been at it for 95 s; others of this job took 20 s',
      }),
    ]);
  });

  it.each([
    ['is not three times as long as others took', 3 * 20_000],
    ['has only just been given out', 0],
  ])('is not made where it %s', (_what, forMs) => {
    expect(given({ leases: [lease('a', forMs)] })).toEqual([]);
    expect(given({ leases: [lease('a', 3 * 20_000 + 1)] })).toEqual(['task_a quick']);
  });

  it('is not made of short tasks before a copy could be worth it', () => {
    const times = new Map([[timesKey({ jobId: JOB, kind: 'frame' }), [500, 500, 500]]]);
    expect(given({ times, leases: [lease('a', 500 + LEAST_LATE_MS)] })).toEqual([]);
    expect(given({ times, leases: [lease('a', 501 + LEAST_LATE_MS)] })).toEqual(['task_a quick']);
  });

  it('is not made where nobody knows how long tasks of its kind take', () => {
    expect(given({ times: new Map() })).toEqual([]);
    const few = Array.from({ length: LEAST_TIMES - 1 }, () => 1_000);
    expect(given({ times: new Map([[timesKey({ jobId: JOB, kind: 'frame' }), few]]) })).toEqual([]);
    // What finishing takes says nothing about tiles.
    expect(given({ leases: [lease('a', 95_000, { kind: 'render' })] })).toEqual([]);
  });

  it('is never for the node that has it already, nor for one that failed it', () => {
    expect(given({ idle: [node('slow')] })).toEqual([]);
    const avoided = lease('a', 95_000, { avoid: [nodeIdSchema.parse('quick')] });
    expect(given({ leases: [avoided] })).toEqual([]);
    expect(given({ leases: [avoided], idle: [node('quick'), node('other')] })).toEqual(['task_a other']);
  });

  it('waits while anything of the job is queued, and while the node could have something of another job', () => {
    expect(given({ queued: new Set([JOB]) })).toEqual([]);
    const other = jobIdSchema.parse('job_other');
    const queued = new Set([other]);
    expect(given({ queued, farm: farmOf(job(JOB), job(other)) })).toEqual([]);
    // What it may not have anyway is no reason.
    const notForIt = job(other, { pool: 'red' });
    expect(given({ queued, farm: farmOf(job(JOB), notForIt) })).toEqual(['task_a quick']);
  });

  it.each<[string, Partial<JobFacts>]>([
    ['is excluded', { excluded: new Set([nodeIdSchema.parse('quick')]) }],
    ['is not of its pool', { pool: 'red' }],
    ['has not its engine', { engine: 'blender-9.9.9' }],
    [
      'would be one node too many',
      { maxNodes: 1, inFlight: new Map([[nodeIdSchema.parse('slow'), { leases: 1, sinceMs: 0 }]]) },
    ],
  ])('is not for a node that %s', (_what, changes) => {
    expect(given({ farm: farmOf(job(JOB, changes)) })).toEqual([]);
  });

  it('is for a node that has the scene open before others', () => {
    const warm = node('warm', { warm: [job(JOB).scene] });
    expect(given({ idle: [node('cold'), warm] })).toEqual(['task_a warm']);
  });

  it('is one for each node, whichever of its devices ask, and the latest first', () => {
    const leases = [lease('early', 70_000), lease('late', 95_000)];
    expect(given({ leases, idle: [node('quick'), node('quick')] })).toEqual(['task_late quick']);
    expect(given({ leases, idle: [node('quick'), node('other')] })).toEqual([
      'task_late quick',
      'task_early other',
    ]);
  });

  it('keeps to the most that a job may have at a time', () => {
    const leases = Array.from({ length: 9 }, (_, index) => lease(`t${index}`, 95_000 + index));
    const idle = Array.from({ length: 9 }, (_, index) => node(`idle-${index}`));
    expect(given({ leases, idle })).toHaveLength(MAX_COPIES);
    expect(given({ leases, idle, copies: new Map([[JOB, MAX_COPIES - 1]]) })).toHaveLength(1);
    expect(given({ leases, idle, copies: new Map([[JOB, MAX_COPIES]]) })).toHaveLength(0);
  });
});

describe('whatever the end of a job looks like', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const some = fc.record({
    leases: fc.array(
      fc.record({ forMs: fc.nat(200_000), holder: fc.constantFrom(...names), avoid: fc.subarray(names) }),
      { maxLength: 12 },
    ),
    idle: fc.array(fc.constantFrom(...names), { maxLength: 8 }),
    times: fc.array(fc.nat(60_000), { maxLength: 9 }),
    copies: fc.nat(6),
  });

  it('each copy is of something late, on another node, one of a task and of a node, few of a job', () => {
    fc.assert(
      fc.property(some, ({ leases, idle, times, copies }) => {
        const open = leases.map(({ forMs, holder, avoid }, index) =>
          lease(String(index), forMs, {
            nodeId: nodeIdSchema.parse(holder),
            avoid: avoid.map((name) => nodeIdSchema.parse(name)),
          }),
        );
        const chosen = chooseCopies(
          ending({
            leases: open,
            idle: idle.map((name) => node(name)),
            times: new Map([[timesKey({ jobId: JOB, kind: 'frame' }), times]]),
            copies: new Map([[JOB, copies]]),
          }),
        );
        const typical = medianMs(times);
        for (const one of chosen) {
          expect(one.node.id).not.toBe(one.lease.nodeId);
          expect(one.lease.avoid).not.toContain(one.node.id);
          expect(idle).toContain(one.node.id);
          expect(NOW - one.lease.sinceMs).toBeGreaterThan(LATE_FACTOR * (typical ?? Number.NaN));
        }
        expect(new Set(chosen.map((one) => one.lease.taskId)).size).toBe(chosen.length);
        expect(new Set(chosen.map((one) => one.node.id)).size).toBe(chosen.length);
        expect(chosen.length).toBeLessThanOrEqual(Math.max(0, MAX_COPIES - copies));
      }),
    );
  });
});
