import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Candidate, CandidateList } from '../../coordinator/scheduling/candidate-list.ts';
import { digestSchema, jobIdSchema, taskIdSchema } from '../../protocol/ids.ts';

const JOBS = [1, 2].map((number) => jobIdSchema.parse(`job_${number}`));
const SCENE = digestSchema.parse('ab'.repeat(32));

const anyCandidate: fc.Arbitrary<Candidate> = fc
  .record({
    task: fc.nat(12),
    job: fc.constantFrom(...JOBS),
    kind: fc.constantFrom('render' as const, 'finish' as const),
    position: fc.nat(5),
    token: fc.nat(3),
  })
  .map(({ task, job, ...fields }) => ({
    ...{ id: taskIdSchema.parse(`task_${task}`), jobId: job, ...fields },
    ...{ seq: 1, scene: SCENE, engine: 'blender-a', deviceClass: null, troubled: false },
  }));

/** Something that happens to the list. */
const anyStep = fc.oneof(
  { weight: 5, arbitrary: anyCandidate.map((candidate) => ({ candidate })) },
  { weight: 3, arbitrary: fc.nat(12).map((task) => ({ gone: taskIdSchema.parse(`task_${task}`) })) },
  { weight: 3, arbitrary: fc.constantFrom(...JOBS).map((look) => ({ look })) },
  { weight: 1, arbitrary: fc.constant({ clear: true }) },
);

describe('the list of candidates', () => {
  it('has the newest of each task that is held, finish tasks first, then in the order of work', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
        const list = new CandidateList();
        const held = new Map<string, Candidate>();
        const look = (job: (typeof JOBS)[number]): void => {
          const rank = ({ kind, position }: Candidate): number => (kind === 'finish' ? 0 : 1_000) + position;
          const expected = [...held.values()].filter(({ jobId }) => jobId === job);
          const found = list.inOrder(job);
          expect(new Set(found)).toEqual(new Set(expected));
          expect(found.map(rank)).toEqual(expected.map(rank).sort((a, b) => a - b));
        };
        for (const step of steps) {
          if ('candidate' in step) {
            list.add(step.candidate);
            held.set(step.candidate.id, step.candidate);
          } else if ('gone' in step) {
            list.delete(step.gone);
            held.delete(step.gone);
          } else if ('look' in step) look(step.look);
          else {
            list.clear();
            held.clear();
          }
        }
        for (const job of JOBS) look(job);
        expect(taskIdsOf(list)).toEqual(new Set(held.keys()));
      }),
    );
  });
});

function taskIdsOf(list: CandidateList): Set<string> {
  const all = Array.from({ length: 13 }, (_, task) => taskIdSchema.parse(`task_${task}`));
  return new Set(all.filter((id) => list.has(id)));
}
