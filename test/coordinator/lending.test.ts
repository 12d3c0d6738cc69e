import { describe, expect, it } from 'vitest';
import { Lending } from '../../coordinator/scheduling/lending.ts';
import { newIdBody } from '../../platform/new-id.ts';
import { jobIdSchema, type TaskId, taskIdSchema } from '../../protocol/ids.ts';
import { FakeClock } from '../support/coordinator-context.ts';

const jobId = jobIdSchema.parse(`job_${newIdBody(0)}`);
const pointer = (borrowed = false) => ({
  ...{ taskId: taskIdSchema.parse(`task_${newIdBody(0)}`), jobId, borrowed },
  ...{ done: () => undefined, later: () => undefined },
});

function made() {
  const clock = new FakeClock();
  const said = { waiting: 0, offered: [] as TaskId[] };
  const lending = new Lending(
    {
      waiting: () => {
        said.waiting += 1;
      },
      offer: (pointers) => said.offered.push(...pointers.map(({ taskId }) => taskId)),
    },
    clock,
  );
  return { clock, said, lending };
}

describe('a coordinator beside others', () => {
  it('says once for a new question that a node waits, however often it looks', () => {
    const { clock, said, lending } = made();
    lending.settle(true, () => []);
    expect(said.waiting).toBe(0);
    lending.asked();
    lending.settle(false, () => []);
    expect(said.waiting).toBe(0);
    for (let look = 0; look < 5; look++) {
      lending.settle(true, () => []);
      clock.advance(1_000);
    }
    expect(said.waiting).toBe(1);
    lending.asked();
    lending.settle(true, () => []);
    expect(said.waiting).toBe(2);
  });

  it('offers what is its own while somebody may wait elsewhere, each task once in a while, some at a time', () => {
    const { clock, said, lending } = made();
    const left = Array.from({ length: 100 }, () => pointer());
    const own = left.map(({ taskId }) => taskId);
    const all = () => [pointer(true), ...left];
    lending.settle(false, all);
    expect(said.offered).toEqual([]);
    lending.othersWait(15_000);
    lending.settle(false, all);
    expect(said.offered).toEqual(own.slice(0, 64));
    lending.settle(false, all);
    expect(said.offered).toEqual(own);
    lending.settle(false, all);
    expect(said.offered).toHaveLength(100);
    clock.advance(5_000);
    lending.settle(false, all);
    expect(said.offered.slice(100)).toEqual(own.slice(0, 64));
    clock.advance(10_001);
    lending.settle(false, all);
    expect(said.offered).toHaveLength(164);
  });
});
