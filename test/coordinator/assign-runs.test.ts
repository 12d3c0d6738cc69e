import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Asking, Candidates } from '../../coordinator/scheduling/assign-runs.ts';
import { type Candidate, CandidateList } from '../../coordinator/scheduling/candidate-list.ts';
import { digestSchema, type JobId, jobIdSchema, nodeIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import { MAX_RUN } from '../../protocol/messages.ts';

const SCENE = digestSchema.parse('ab'.repeat(32));
const job = (number: number): JobId => jobIdSchema.parse(`job_${number}`);

function candidate(index: number, more: Partial<Candidate> = {}): Candidate {
  return {
    id: taskIdSchema.parse(`task_${index}`),
    jobId: job(1),
    seq: 1,
    kind: 'render',
    position: index,
    token: 0,
    scene: SCENE,
    engine: 'blender-a',
    deviceClass: null,
    troubled: false,
    ...more,
  };
}

const node = (more: Partial<Asking> = {}): Asking => ({
  nodeId: nodeIdSchema.parse('node-1'),
  engines: ['blender-a'],
  ...more,
});
const run = (tasks: number): Asking['run'] => ({ scene: SCENE, kind: 'render', tasks });

const anyCandidates = fc
  .array(
    fc.record({
      // All tasks of a job are for one engine.
      of: fc.constantFrom(
        { jobId: job(1), engine: 'blender-a' },
        { jobId: job(2), engine: 'blender-b' },
        { jobId: job(3), engine: 'blender-a' },
      ),
      kind: fc.constantFrom('render' as const, 'finish' as const),
      troubled: fc.boolean(),
      position: fc.nat(20),
    }),
    { maxLength: 40 },
  )
  .map((all) => all.map(({ of, ...fields }, index) => candidate(index, { ...of, ...fields })));
const anyNodes = fc.array(
  fc.record({
    engines: fc.subarray(['blender-a', 'blender-b']),
    run: fc.option(fc.integer({ min: 1, max: MAX_RUN }).map(run), { nil: undefined }),
  }),
  { maxLength: 20 },
);

function listOf(candidates: readonly Candidate[]): CandidateList {
  const list = new CandidateList();
  for (const one of candidates) list.add(one);
  return list;
}

describe('assigning tasks to nodes that wait', () => {
  it('gives no task twice, only what fits, and one job and kind at a time', () => {
    fc.assert(
      fc.property(anyCandidates, anyNodes, (all, nodes) => {
        const candidates = new Candidates(listOf(all));
        const order = [job(1), job(2), job(3)];
        const given = nodes.map((one) => ({ one, ...candidates.take(node(one), order) }));
        const ids = given.flatMap(({ tasks }) => tasks.map((task) => task.id));
        expect(new Set(ids).size).toBe(ids.length);
        for (const { one, tasks, troubled } of given) {
          expect(tasks.length).toBeLessThanOrEqual(one.run?.tasks ?? 1);
          expect(new Set(tasks.map((task) => `${task.jobId} ${task.kind}`)).size).toBeLessThanOrEqual(1);
          expect(tasks.every((task) => one.engines.includes(task.engine) && !task.troubled)).toBe(true);
          if (troubled) expect(tasks).toEqual([]);
        }
      }),
    );
  });

  it('leaves nobody without work who could have some', () => {
    fc.assert(
      fc.property(anyCandidates, (all) => {
        const clean = all.map((one) => ({ ...one, troubled: false, engine: 'blender-a' }));
        const candidates = new Candidates(listOf(clean));
        const order = [job(1), job(2), job(3)];
        for (let left = clean.length; left > 0; left--)
          expect(candidates.take(node(), order).tasks).toHaveLength(1);
        expect(candidates.take(node(), order)).toEqual({ tasks: [], troubled: false });
      }),
    );
  });

  it('takes jobs in the order given, and in a job finish tasks before tiles, tiles by their place', () => {
    const all = [
      candidate(1, { position: 5 }),
      candidate(2, { position: 2 }),
      candidate(3, { position: 9, kind: 'finish' }),
      candidate(4, { jobId: job(2), position: 0 }),
    ];
    const candidates = new Candidates(listOf(all));
    const taken = all.map(() => candidates.take(node(), [job(2), job(1)]).tasks[0]?.position);
    expect(taken).toEqual([0, 9, 2, 5]);
  });

  it('gives as many as are asked for of what the node has just done, and one of anything else', () => {
    const all = Array.from({ length: 8 }, (_, index) => candidate(index));
    expect(new Candidates(listOf(all)).take(node({ run: run(5) }), [job(1)]).tasks).toHaveLength(5);
    const other = { scene: SCENE, kind: 'finish' as const, tasks: 5 };
    expect(new Candidates(listOf(all)).take(node({ run: other }), [job(1)]).tasks).toHaveLength(1);
    const mixed = [candidate(0), candidate(1), candidate(2, { troubled: true }), candidate(3)];
    expect(new Candidates(listOf(mixed)).take(node({ run: run(4) }), [job(1)]).tasks).toHaveLength(2);
  });

  it('gives a GPU what is for its class, and a CPU what is for none', () => {
    const all = [candidate(1), candidate(2, { jobId: job(2), deviceClass: 'optix-sm89' })];
    const order = [job(1), job(2)];
    const gpu = node({ gpu: { classes: ['blender-a optix-sm89'] } });
    expect(new Candidates(listOf(all)).take(gpu, order).tasks.map((task) => task.position)).toEqual([2]);
    expect(
      new Candidates(listOf(all)).take(node({ gpu: { classes: ['blender-a cuda-sm89'] } }), order).tasks,
    ).toEqual([]);
    expect(new Candidates(listOf(all)).take(node(), order).tasks.map((task) => task.position)).toEqual([1]);
  });

  it('says so where a task that failed before is next', () => {
    const all = [candidate(1, { troubled: true }), candidate(2)];
    expect(new Candidates(listOf(all)).take(node({ run: run(4) }), [job(1)])).toEqual({
      tasks: [],
      troubled: true,
    });
  });
});
