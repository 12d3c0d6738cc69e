import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FarmFacts, JobFacts, NodeFacts } from '../../coordinator/scheduling/matching/facts.ts';
import { rebase, type Standing, standing } from '../../coordinator/scheduling/matching/fair-share.ts';
import { match, noteLeased } from '../../coordinator/scheduling/matching/match.ts';
import { type Digest, digestSchema, type JobId, type NodeId } from '../../protocol/ids.ts';

const NOW = 1_000_000;
const BLENDER = 'blender-4.3.2';
const sceneOf = (letter: string): Digest => digestSchema.parse(letter.repeat(64));

function node(changes: Partial<NodeFacts> = {}): NodeFacts {
  return {
    id: 'node-1' as NodeId,
    device: { kind: 'cpu', engines: [BLENDER] },
    pools: [],
    quarantinedUntilMs: null,
    warm: [],
    lastJob: null,
    ask: null,
    ...changes,
  };
}

function job(name: string, changes: Partial<JobFacts> = {}): JobFacts {
  return {
    id: `job_${name}` as JobId,
    seq: name.charCodeAt(0),
    account: 'default',
    priority: 50,
    scene: sceneOf('a'),
    engine: BLENDER,
    deviceClass: null,
    deadlineMs: NOW + 1_000,
    maxNodes: null,
    pool: null,
    cap: null,
    excluded: new Set(),
    base: 0,
    usedMs: 0,
    usedTasks: 0,
    inFlight: new Map(),
    left: 1,
    ...changes,
  };
}

function farmOf(jobs: JobFacts[], limits: Record<string, number> = {}): FarmFacts {
  const accounts: FarmFacts['accounts'] = new Map();
  for (const { account, usedMs } of jobs) {
    const before = accounts.get(account)?.usedMs ?? 0;
    accounts.set(account, { maxNodes: limits[account] ?? null, base: 0, usedMs: before + usedMs });
  }
  return { atMs: NOW, jobs: new Map(jobs.map((one) => [one.id, one])), accounts };
}

const decide = (asks: NodeFacts, farm: FarmFacts) => match(asks, farm, farm.jobs.keys(), NOW);
const working = (...names: string[]): JobFacts['inFlight'] =>
  new Map(names.map((name) => [name as NodeId, { leases: 1, sinceMs: NOW }]));

describe('whether a node may take work of a job', () => {
  const card = { kind: 'gpu' as const, classes: [`${BLENDER} optix-sm89`] };
  const rows: [string, Partial<NodeFacts>, Partial<JobFacts>, string | null][] = [
    ['the engine of the job', {}, {}, null],
    ['another engine', { device: { kind: 'cpu', engines: ['blender-3.4.1'] } }, {}, 'engine'],
    ['the card that the job is for', { device: card }, { deviceClass: 'optix-sm89' }, null],
    ['another card than the job is for', { device: card }, { deviceClass: 'optix-sm90' }, 'engine'],
    ['a card, and the job is for CPUs', { device: card }, {}, 'device'],
    ['a CPU, and the job is for cards', {}, { deviceClass: 'optix-sm89' }, 'device'],
    ['the pool of the job among others', { pools: ['blue', 'red'] }, { pool: 'red' }, null],
    ['no pool', {}, { pool: 'red' }, 'pool'],
    ['a pool that the job does not ask for', { pools: ['red'] }, {}, null],
    ['an ask as high as the cap', { ask: 5n }, { cap: 5n }, null],
    ['an ask above the cap', { ask: 6n }, { cap: 5n }, 'price'],
    ['an ask, and the job has no cap', { ask: 6n }, {}, null],
    ['failed a check of the job', {}, { excluded: new Set(['node-1' as NodeId]) }, 'excluded'],
    ['time until the deadline', {}, { deadlineMs: NOW + 1 }, null],
    ['no time until the deadline', {}, { deadlineMs: NOW }, 'deadline'],
    ['a quarantine', { quarantinedUntilMs: NOW + 1 }, {}, 'quarantined'],
    ['a quarantine that is over', { quarantinedUntilMs: NOW }, {}, null],
    ['one place left on the job', {}, { maxNodes: 2, inFlight: working('node-2') }, null],
    ['no place left on the job', {}, { maxNodes: 1, inFlight: working('node-2') }, 'job-limit'],
    ['its own place on the job', {}, { maxNodes: 1, inFlight: working('node-1') }, null],
  ];
  it.each(rows)('%s', (_what, asks, about, refused) => {
    const farm = farmOf([job('a', about)]);
    const decision = decide(node(asks), farm);
    expect([...decision.refused.values()]).toEqual(refused === null ? [] : [refused]);
    expect(decision.order).toEqual(refused === null ? ['job_a'] : []);
  });

  it('counts the nodes of an account once, whatever jobs of it they work on', () => {
    const jobs = [
      job('a', { inFlight: working('node-2') }),
      job('b', { inFlight: working('node-2') }),
      job('c'),
    ];
    expect(decide(node(), farmOf(jobs, { default: 2 })).order).toHaveLength(3);
    const full = decide(node(), farmOf(jobs, { default: 1 }));
    expect([...full.refused.values()]).toEqual(['account-limit', 'account-limit', 'account-limit']);
    expect(decide(node({ id: 'node-2' as NodeId }), farmOf(jobs, { default: 1 })).order).toHaveLength(3);
  });
});

describe('which job is next', () => {
  const rows: [string, Partial<NodeFacts>, JobFacts[], string[]][] = [
    ['the oldest where nobody had anything', {}, [job('b'), job('a')], ['a', 'b']],
    ['the one that had less node time', {}, [job('a', { usedMs: 9, usedTasks: 1 }), job('b')], ['b', 'a']],
    [
      'node time counts by priority: 70 s at 80 is less than 20 s at 20',
      {},
      [
        job('a', { priority: 20, usedMs: 20_000, usedTasks: 1 }),
        job('b', { priority: 80, usedMs: 70_000, usedTasks: 1 }),
      ],
      ['b', 'a'],
    ],
    [
      'what is being rendered counts before it is done',
      {},
      [job('a', { inFlight: working('node-2') }), job('b')],
      ['b', 'a'],
    ],
    [
      'the account that had less goes before, whatever the priority',
      {},
      [
        job('a', { priority: 100, usedMs: 9_000, usedTasks: 9 }),
        job('b', { account: 'b', priority: 1, usedMs: 1_000, usedTasks: 1 }),
      ],
      ['b', 'a'],
    ],
    [
      'a scene that is open, as long as the other is not far behind',
      { warm: [sceneOf('b')] },
      [job('a'), job('b', { scene: sceneOf('b'), usedMs: 4_900, usedTasks: 1 })],
      ['b', 'a'],
    ],
    [
      'another scene than the open one when that is far ahead',
      { warm: [sceneOf('b')] },
      [job('a'), job('b', { scene: sceneOf('b'), usedMs: 5_100, usedTasks: 1 })],
      ['a', 'b'],
    ],
    [
      'the job it had last before another of the same scene',
      { lastJob: 'job_c' as JobId, warm: [sceneOf('a')] },
      [job('a'), job('b'), job('c', { usedMs: 4_900, usedTasks: 1 })],
      ['c', 'a', 'b'],
    ],
    [
      'the job it had last also where four nodes of another are twice as far behind',
      { lastJob: 'job_b' as JobId },
      [
        job('a', { usedTasks: 4, inFlight: working('node-2', 'node-3', 'node-4', 'node-5') }),
        job('b', { usedMs: 9_900, usedTasks: 1 }),
      ],
      ['b', 'a'],
    ],
    [
      'another job than the last one when four nodes of it are further behind than that',
      { lastJob: 'job_b' as JobId },
      [
        job('a', { usedTasks: 4, inFlight: working('node-2', 'node-3', 'node-4', 'node-5') }),
        job('b', { usedMs: 10_100, usedTasks: 1 }),
      ],
      ['a', 'b'],
    ],
    ['the nearer deadline among equals', {}, [job('a'), job('b', { deadlineMs: NOW + 5 })], ['b', 'a']],
  ];
  it.each(rows)('%s', (_what, asks, jobs, order) => {
    expect(decide(node(asks), farmOf(jobs)).order).toEqual(order.map((name) => `job_${name}`));
  });

  it('is never a job that has nothing to hand out', () => {
    const farm = farmOf([job('a'), job('b')]);
    expect(match(node(), farm, ['job_b' as JobId, 'job_gone' as JobId], NOW).order).toEqual(['job_b']);
  });
});

describe('virtual time', () => {
  const farAhead = { usedMs: 50_000_000, usedTasks: 50_000 };

  it('of a newcomer begins where the one furthest behind of those that have work is', () => {
    const jobs = [
      job('a', { usedMs: 5_000, usedTasks: 5 }),
      job('b', { usedMs: 500, usedTasks: 1 }),
      job('c', { base: null }),
    ];
    const farm = farmOf(jobs);
    const start = rebase(farm, new Set(['job_a', 'job_c'] as JobId[]), NOW).jobs.get('job_c' as JobId);
    expect(start).toBe(100);
    expect(rebase(farm, new Set(), NOW).jobs.get('job_c' as JobId)).toBe(10);
  });

  it('of who was away catches up on a minute of the farm, and of nobody else changes', () => {
    const jobs = [
      job('a', farAhead),
      job('b', { ...farAhead, usedMs: 50_000_050 }),
      job('c'),
      job('d', { usedMs: 50, usedTasks: 1 }),
    ];
    const farm = farmOf(jobs);
    const { jobs: bases } = rebase(farm, new Set(farm.jobs.keys()), NOW);
    expect([...bases.keys()].sort()).toEqual(['job_c', 'job_d']);
    for (const [id, base] of bases) Object.assign(farm.jobs.get(id) as JobFacts, { base });
    const times = standing(farm, NOW).jobs;
    const timeOf = (name: string): number => times.get(`job_${name}` as JobId) ?? Number.NaN;
    expect(timeOf('a') - timeOf('d')).toBeCloseTo(60_000 / 50);
    // Those who were away together keep their distance.
    expect(timeOf('d') - timeOf('c')).toBeCloseTo(1);
    expect(rebase(farm, new Set(farm.jobs.keys()), NOW).jobs.size).toBe(0);
  });

  it('of a job of few long tasks is not taken for an absence of the others', () => {
    const hour = 3_600_000;
    const farm = farmOf([job('a', { priority: 1, usedMs: hour, usedTasks: 1 }), job('b', { priority: 100 })]);
    expect(rebase(farm, new Set(farm.jobs.keys()), NOW).jobs.size).toBe(0);
  });
});

describe('shares over a long time', () => {
  /** One step: the node that is free first asks; what it is given occupies it for the job's own time. */
  function play(
    jobs: JobFacts[],
    nodes: number,
    steps: number,
    lasts: (id: JobId) => number,
  ): Map<JobId, number> {
    const farm = farmOf(jobs);
    const used = new Map<JobId, number>(jobs.map(({ id }) => [id, 0]));
    const busy: { id: NodeId; at: number; on?: JobId; sinceMs: number }[] = [];
    for (let index = 0; index < nodes; index++)
      busy.push({ id: `node-${index}` as NodeId, at: NOW, sinceMs: NOW });
    for (let step = 0; step < steps; step++) {
      busy.sort((a, b) => a.at - b.at);
      const free = busy[0] as (typeof busy)[number];
      const done = free.on === undefined ? undefined : farm.jobs.get(free.on);
      if (done !== undefined) {
        done.inFlight.delete(free.id);
        const ms = free.at - free.sinceMs;
        done.usedMs += ms;
        done.usedTasks += 1;
        const account = farm.accounts.get(done.account);
        if (account !== undefined) account.usedMs += ms;
        used.set(done.id, (used.get(done.id) ?? 0) + ms);
      }
      const rebased = rebase(farm, new Set(farm.jobs.keys()), free.at);
      expect([rebased.jobs.size, rebased.accounts.size]).toEqual([0, 0]);
      const next = match(node({ id: free.id }), farm, farm.jobs.keys(), free.at).order[0] as JobId;
      const behind = standing(farm, free.at);
      noteLeased(farm, next, free.id, 1, free.at, behind);
      if (step % 50 === 0) expectSame(behind, standing(farm, free.at));
      Object.assign(free, { on: next, sinceMs: free.at, at: free.at + lasts(next) });
    }
    const end = Math.min(...busy.map(({ at }) => at));
    for (const { on, sinceMs } of busy) {
      if (on !== undefined) used.set(on, (used.get(on) ?? 0) + Math.max(0, end - sinceMs));
    }
    return used;
  }
  /** What is kept up with is what would be worked out anew. */
  function expectSame(kept: Standing, anew: Standing): void {
    for (const [id, time] of anew.jobs) expect(kept.jobs.get(id)).toBeCloseTo(time, 3);
    for (const [name, time] of anew.accounts) expect(kept.accounts.get(name)).toBeCloseTo(time, 3);
  }
  const shareOf = (used: Map<JobId, number>, name: string): number => {
    const all = [...used.values()].reduce((sum, ms) => sum + ms, 0);
    return (used.get(`job_${name}` as JobId) ?? 0) / all;
  };
  const endless = { deadlineMs: Number.POSITIVE_INFINITY };

  it.each([
    [1, 600_000, 600_000],
    [2, 600_000, 600_000],
    [10, 1_000, 1_000],
    [10, 500, 20_000],
    [100, 10_000, 500],
  ])('are 4:1 at 80 beside 20 on %i nodes with tasks of %i and %i ms', (nodes, first, second) => {
    const jobs = [job('a', { priority: 80, ...endless }), job('b', { priority: 20, ...endless })];
    const used = play(jobs, nodes, 4_000, (id) => (id === 'job_a' ? first : second));
    expect(Math.abs(shareOf(used, 'a') - 0.8)).toBeLessThan(0.02);
  });

  it('are as the weights say, whatever they are, with two levels', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.integer({ min: 10, max: 100 }),
            fc.integer({ min: 0, max: 2 }),
            fc.integer({ min: 500, max: 2_000 }),
          ),
          {
            minLength: 1,
            maxLength: 5,
          },
        ),
        fc.integer({ min: 1, max: 12 }),
        (given, nodes) => {
          const jobs = given.map(([priority, account], index) =>
            job(String.fromCharCode(97 + index), { priority, account: `account-${account}`, ...endless }),
          );
          const lasts = new Map(jobs.map(({ id }, index) => [id, given[index]?.[2] ?? 1]));
          const used = play(jobs, nodes, 1_500, (id) => lasts.get(id) ?? 1);
          const accounts = new Set(jobs.map((one) => one.account)).size;
          const all = [...used.values()].reduce((sum, ms) => sum + ms, 0);
          for (const one of jobs) {
            const own = jobs.filter(({ account }) => account === one.account);
            const weights = own.reduce((sum, { priority }) => sum + priority, 0);
            expect((used.get(one.id) ?? 0) / all).toBeCloseTo(one.priority / weights / accounts, 1);
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});
